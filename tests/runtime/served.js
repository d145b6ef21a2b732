// The same app for node: echoes the body; without one, says the path.
require("http").createServer((request, answer) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    answer.end(body.length ? body : request.url);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
