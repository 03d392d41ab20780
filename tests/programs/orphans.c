/* Makes orphans as fast as it can: argv[1] of them, argv[2] by each short-lived parent, which waits for none of them.
 * Waits for a byte from the FIFO argv[3] before it begins, and again when it has said how many it made. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t must_fork(void) {
    for (;;) {
        pid_t pid = fork();
        if (pid >= 0 || errno != EAGAIN) {
            return pid;
        }
        sched_yield(); /* the table of processes is full for the moment */
    }
}

static void wait_for_a_byte(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) != 1) {
        _exit(9);
    }
    close(fd);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    long wanted = atol(argv[1]), each = atol(argv[2]), made = 0;
    dprintf(1, "ready\n");
    wait_for_a_byte(argv[3]);
    while (made < wanted) {
        pid_t parent = must_fork();
        if (parent < 0) {
            return 3;
        }
        if (parent == 0) {
            for (long index = 0; index < each; index++) {
                pid_t orphan = must_fork();
                if (orphan <= 0) {
                    _exit(orphan < 0);
                }
            }
            _exit(0);
        }
        int status;
        if (waitpid(parent, &status, 0) != parent || status != 0) {
            return 4;
        }
        made += each;
    }
    dprintf(1, "made %ld\n", made);
    wait_for_a_byte(argv[3]);
    return 0;
}
