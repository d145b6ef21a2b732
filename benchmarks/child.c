/* What the tools run: it tells when its first instruction ran, so that nobody's start-up but the
   tool's is measured, and then lives until it is stopped.

   child FIFO              writes a line to standard output, and waits
   child FIFO COUNT TAG    writes COUNT numbered lines, in pieces that end in the midst of lines

   cc -O2 -o child child.c && ./child FIFO */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 2 && argc != 4) return 2;
    char text[64];
    int length = snprintf(text, sizeof text, "%d %lld\n", (int)getpid(),
                          now.tv_sec * 1000000000LL + now.tv_nsec);
    int fifo = open(argv[1], O_WRONLY | O_CLOEXEC);
    if (fifo < 0 || write(fifo, text, length) != length) return 1;
    close(fifo);
    static char pieces[16384]; /* what C's buffered streams would do, with a size of our own */
    setvbuf(stdout, pieces, _IOFBF, sizeof pieces);
    if (argc == 4) {
        long count = atol(argv[2]);
        for (long number = 0; number < count; number++)
            printf("%s %07ld the quick brown fox jumps over the lazy dog;\n", argv[3], number);
    } else {
        puts("hello");
    }
    fflush(stdout);
    for (;;) pause();
}
