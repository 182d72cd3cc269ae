/* The system's monotonic clock. */
#define _POSIX_C_SOURCE 199309L /* for clock_gettime, which is not in C11 */

#include "include/iw_playout.h"

#ifdef _WIN32

#include <windows.h>

uint64_t iw_playout_clock_ns(void)
{
    LARGE_INTEGER ticks;
    LARGE_INTEGER per_second;
    uint64_t whole;
    uint64_t rest;

    QueryPerformanceFrequency(&per_second);
    QueryPerformanceCounter(&ticks);
    whole = (uint64_t)(ticks.QuadPart / per_second.QuadPart);
    rest = (uint64_t)(ticks.QuadPart % per_second.QuadPart);
    return whole * 1000000000u + rest * 1000000000u / (uint64_t)per_second.QuadPart;
}

#else

#include <time.h>

uint64_t iw_playout_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
