/* The fastest dyno there is, so that what is measured is the router: one thread, epoll, one fixed
   answer for each request head, keep-alive and pipelining. GET only; it closes when it is asked to
   in a head that comes in one piece.

   cc -O2 -o backend backend.c && ./backend PORT

   `fd` instead of a port is descriptor 3, a socket that listens already. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
static const char LAST_ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\n"
    "Hello, world!";

/* Heads may arrive in pieces: how much of CRLF CRLF each connection has seen. */
static unsigned char seen[65536];

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    signal(SIGPIPE, SIG_IGN);
    int on = 1, is_handed = !strcmp(argv[1], "fd");
    int listener = is_handed ? 3 : socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!is_handed && bind(listener, (struct sockaddr *)&address, sizeof address)) {
        perror("backend");
        return 1;
    }
    if (!is_handed && listen(listener, 4096)) {
        perror("backend");
        return 1;
    }
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    puts("ready");
    fflush(stdout);
    static char in[65536];
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= (int)sizeof seen) {
                        close(fd);
                        continue;
                    }
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    seen[fd] = 0;
                    event.events = EPOLLIN;
                    event.data.fd = fd;
                    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            ssize_t size = recv(fd, in, sizeof in, 0);
            if (size <= 0) {
                if (size < 0 && errno == EAGAIN) continue;
                close(fd);
                continue;
            }
            if (memmem(in, size, "\r\nConnection: close", 19)) {
                send(fd, LAST_ANSWER, sizeof LAST_ANSWER - 1, MSG_NOSIGNAL);
                close(fd);
                continue;
            }
            for (ssize_t at = 0; at < size; at++) {
                unsigned char state = seen[fd];
                seen[fd] = in[at] == "\r\n\r\n"[state] ? state + 1 : in[at] == '\r';
                if (seen[fd] == 4) {
                    seen[fd] = 0;
                    if (send(fd, ANSWER, sizeof ANSWER - 1, 0) < 0) break;
                }
            }
        }
    }
}
