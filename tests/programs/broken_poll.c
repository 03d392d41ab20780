/* Preloaded: once the file that BROKEN_POLL names is there, poll(2) fails without saying why (errno 0),
 * once or for good, as LAUNCHER_BROKEN says. Only the launcher breaks: it hands no variable of such a name down. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    const char *path = getenv("BROKEN_POLL");
    const char *how = getenv("LAUNCHER_BROKEN");
    static int broken;
    if (path && how && access(path, F_OK) == 0 && !(broken && strcmp(how, "once") == 0)) {
        broken = 1;
        errno = 0;
        return -1;
    }
    int (*real)(struct pollfd *, nfds_t, int) = (int (*)(struct pollfd *, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    return real(fds, count, timeout);
}
