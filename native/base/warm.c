/* base/warm.c - pages of a mapped file, put into the page table many at a time
 * before they are needed, rather than a few at each of thousands of faults. */
#define _DEFAULT_SOURCE
#include "base/status.h"
#include <sys/mman.h>
#include <unistd.h>

/* Linux 5.14; an older kernel refuses it, and nothing is lost. */
enum { POPULATE_READ = 22, STEP = 1 << 20 }; /* short, so that who maps or unmaps meanwhile need not wait */

q3t_status q3t_warm(const void *memory, size_t bytes) {
    if (!memory || !bytes) return Q3T_E_ARGUMENT;
#ifdef __linux__
    size_t page = (size_t)sysconf(_SC_PAGESIZE), skew = (uintptr_t)memory % page;
    char *first = (char *)(uintptr_t)memory - skew;
    for (size_t left = bytes + skew, n; left > 0; left -= n, first += n) {
        n = left < STEP ? left : STEP;
        madvise(first, n, POPULATE_READ);
    }
#endif
    return Q3T_OK;
}
