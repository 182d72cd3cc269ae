/*
 * Measures base64 without Python. It compares the kernels of each level with libbase64 (the
 * library of pybase64) and with simdutf. `python -m benchmarks.base64_core` builds and runs this
 * program. To build it without the two libraries:
 *
 *     cc -O3 -std=gnu11 -I csrc -o base64_peers benchmarks/c/base64_peers.c csrc/base64/*.c \
 *         csrc/common/*.c csrc/g711/*.c csrc/pcm/*.c csrc/ws/*.c && ./base64_peers
 *
 * The macro LIBBASE64 adds libbase64. The macro SIMDUTF_OF_NODE adds simdutf, which Node.js
 * contains: the program becomes a shared object that runs when Node.js loads it.
 *
 * All candidates run in each round, in rotating order. The program prints two medians over the
 * rounds: the time in ns per call, and the ratio of this time to the time of the best level in
 * the same round.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/iw_api.h"
#ifdef LIBBASE64
#include "libbase64.h"
#endif

enum { ROUNDS = 61, CANDIDATES = 16, ROOM = 1 << 21 };
enum { ROUND_NS = 60000 };

/*
 * The three buffers have the alignment of the content of a Python bytes object. Each one starts
 * at a different offset in its page.
 */
static _Alignas(64) uint8_t memory[3][ROOM + 4096];
static uint8_t *const plain = memory[0] + 32;
static uint8_t *const text = memory[1] + 1056;
static uint8_t *const scratch = memory[2] + 2080;

struct candidate {
    const char *name;
    int level; /* the level to force; -1 if the candidate does not use our kernels */
    void (*run)(size_t plain_bytes, size_t text_bytes);
};

static void ours_decode(size_t plain_bytes, size_t text_bytes)
{
    if (iw_base64_decode(scratch, plain_bytes, text, text_bytes) != (ptrdiff_t)plain_bytes)
        abort();
}

static void ours_encode(size_t plain_bytes, size_t text_bytes)
{
    if (iw_base64_encode(scratch, text_bytes, plain, plain_bytes) != (ptrdiff_t)text_bytes)
        abort();
}

static void copy_plain(size_t plain_bytes, size_t text_bytes)
{
    (void)text_bytes;
    memcpy(scratch, plain, plain_bytes);
    __asm__ volatile("" ::: "memory");
}

#ifdef LIBBASE64
static void libbase64_decode(size_t plain_bytes, size_t text_bytes)
{
    size_t written;

    if (base64_decode((const char *)text, text_bytes, (char *)scratch, &written, 0) != 1 ||
        written != plain_bytes)
        abort();
}

static void libbase64_encode(size_t plain_bytes, size_t text_bytes)
{
    size_t written;

    base64_encode((const char *)plain, plain_bytes, (char *)scratch, &written, 0);
    if (written != text_bytes)
        abort();
}
#endif

#ifdef SIMDUTF_OF_NODE
/* The mangled C++ names of simdutf 5 and later. */
struct simdutf_result {
    int error;
    size_t count;
};
extern struct simdutf_result
simdutf_from_base64(const char *src, size_t src_bytes, char *dst, uint64_t options,
                    uint64_t last_chunk) __asm__("_ZN7simdutf16base64_to_binaryEPKcmPcNS_"
                                                 "14base64_optionsENS_27last_chunk_handling_"
                                                 "optionsE");
extern size_t simdutf_to_base64(
    const char *src, size_t src_bytes, char *dst,
    uint64_t options) __asm__("_ZN7simdutf16binary_to_base64EPKcmPcNS_14base64_optionsE");

static void simdutf_decode(size_t plain_bytes, size_t text_bytes)
{
    /* 0: the standard alphabet; 1: the last group must be whole. */
    const struct simdutf_result result =
        simdutf_from_base64((const char *)text, text_bytes, (char *)scratch, 0, 1);

    if (result.error != 0 || result.count != plain_bytes)
        abort();
}

static void simdutf_encode(size_t plain_bytes, size_t text_bytes)
{
    if (simdutf_to_base64((const char *)plain, plain_bytes, (char *)scratch, 0) != text_bytes)
        abort();
}
#endif

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double time_of(const struct candidate *candidate, size_t calls, size_t plain_bytes,
                      size_t text_bytes)
{
    uint64_t begin;
    size_t call;

    if (candidate->level >= 0)
        iw_level_force(candidate->level);
    candidate->run(plain_bytes, text_bytes);
    begin = now_ns();
    for (call = 0; call < calls; call++)
        candidate->run(plain_bytes, text_bytes);
    return (double)(now_ns() - begin) / (double)calls;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, ascending);
    return values[ROUNDS / 2];
}

static void compare(const char *title, const struct candidate *candidates, size_t count,
                    size_t plain_bytes)
{
    static double times[CANDIDATES][ROUNDS], ratios[CANDIDATES][ROUNDS];
    const size_t text_bytes = (plain_bytes + 2) / 3 * 4;
    const size_t last = count - 1; /* the best level, since levels are in ascending order */
    size_t calls[CANDIDATES], at, round;

    for (at = 0; at < count; at++) {
        const double once = time_of(&candidates[at], 20, plain_bytes, text_bytes);

        calls[at] = 1 + (size_t)(ROUND_NS / once);
    }
    for (round = 0; round < ROUNDS; round++) {
        for (at = 0; at < count; at++) {
            const size_t turned = (at + round) % count;

            times[turned][round] =
                time_of(&candidates[turned], calls[turned], plain_bytes, text_bytes);
        }
        for (at = 0; at < count; at++)
            ratios[at][round] = times[at][round] / times[last][round];
    }
    printf("\n%s, %zu bytes\n", title, plain_bytes);
    for (at = 0; at < count; at++)
        printf("  %-20s %10.1f ns  x %6.2f\n", candidates[at].name, median(times[at]),
               median(ratios[at]));
}

static size_t fill(struct candidate *candidates, int decode)
{
    size_t count = 0;
    int level;

    candidates[count++] = (struct candidate){"memcpy of the bytes", -1, copy_plain};
#ifdef LIBBASE64
    candidates[count++] =
        (struct candidate){"libbase64", -1, decode ? libbase64_decode : libbase64_encode};
#endif
#ifdef SIMDUTF_OF_NODE
    candidates[count++] =
        (struct candidate){"simdutf", -1, decode ? simdutf_decode : simdutf_encode};
#endif
    for (level = 0; level < IW_LEVEL_COUNT; level++)
        if (iw_level_supported(level))
            candidates[count++] = (struct candidate){iw_level_name(level), level,
                                                     decode ? ours_decode : ours_encode};
    return count;
}

static void measure(void)
{
    static const size_t sizes[] = {160, 640, 4800, 20160, 65536, 1 << 20};
    struct candidate candidates[CANDIDATES];
    size_t at, count;

    for (at = 0; at < ROOM; at++)
        plain[at] = (uint8_t)rand();
    for (at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        iw_base64_encode(text, ROOM, plain, sizes[at]);
        count = fill(candidates, 1);
        compare("decode", candidates, count, sizes[at]);
        count = fill(candidates, 0);
        compare("encode", candidates, count, sizes[at]);
    }
}

#ifdef SIMDUTF_OF_NODE
__attribute__((constructor)) static void run(void)
{
    measure();
    fflush(stdout);
    _Exit(0);
}
#else
int main(void)
{
    measure();
    return 0;
}
#endif
