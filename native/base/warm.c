/* base/warm.c - brings the pages of a mapped file into the page table before they are read. One system call brings in many
 * pages; page faults would bring in a few at a time. */
#define _DEFAULT_SOURCE
#include "base/status.h"
#include <sys/mman.h>
#include <unistd.h>

enum { POPULATE_READ = 22,  /* MADV_POPULATE_READ, since Linux 5.14; an older kernel returns an error, which is ignored */
       STEP = 1 << 20 };    /* bytes in one call: few, so that other threads that map or unmap memory do not wait long */

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
