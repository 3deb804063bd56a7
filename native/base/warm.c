/* base/warm.c - put the pages of a mapped file into the page table before they are read: many in one call, where page
 * faults would bring in a few at a time. */
#define _DEFAULT_SOURCE
#include "base/status.h"
#include <sys/mman.h>
#include <unistd.h>

enum { POPULATE_READ = 22,  /* MADV_POPULATE_READ of Linux 5.14; an older kernel refuses it, which does no harm */
       STEP = 1 << 20 };    /* bytes of a call: short, so that other threads that map or unmap memory need not wait */

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
