/*
 * The drivers that make random calls share this code. It has a source of random numbers, and it
 * reports failures. With -DLIBFUZZER and clang's -fsanitize=fuzzer, the random numbers are the
 * bytes of libFuzzer's input.
 */
#ifndef FUZZING_H
#define FUZZING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The random numbers of a run come from a seed, or from the bytes of a fuzzer. */
struct source {
    const uint8_t *bytes;
    size_t left;
    uint64_t state;
};

/* The name of the running call, for messages. */
static const char *doing = "";

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "after %s: %s\n", doing, what);
    abort();
}

static uint64_t next_number(struct source *source)
{
    uint64_t number = 0;

    if (source->bytes != NULL) {
        for (size_t i = 0; i < 3; i++) {
            number = number << 8 | (source->left > 0 ? *source->bytes : 0);
            source->bytes += source->left > 0;
            source->left -= source->left > 0;
        }
        return number;
    }
    source->state ^= source->state << 13;
    source->state ^= source->state >> 7;
    source->state ^= source->state << 17;
    return source->state >> 16;
}

static uint64_t below(struct source *source, uint64_t bound)
{
    return next_number(source) % bound;
}

/* Return a size that is often small, sometimes up to the bound, and sometimes zero. */
static size_t size_below(struct source *source, size_t bound)
{
    switch (below(source, 8)) {
    case 0: return 0;
    case 1: return (size_t)below(source, bound);
    case 2: return (size_t)below(source, 4);
    default: return (size_t)below(source, bound / 8 + 1);
    }
}

/* Allocate exactly `bytes` bytes, so that a sanitizer detects any access beyond them. */
static void *exactly(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);

    if (memory == NULL)
        exit(2);
    return memory;
}

/* Make one run of at most `calls` calls. With a fuzzer, a run ends when all bytes are used. */
static void run_once(struct source source, uint64_t calls);

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    run_once((struct source){bytes, size, 0}, UINT64_MAX);
    return 0;
}

#else

/* Arguments: the first seed, the count of seeds, the count of calls. */
int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
    uint64_t calls = argc > 3 ? strtoull(argv[3], NULL, 10) : 500;

    for (uint64_t seed = first; seed < first + seeds; seed++)
        run_once((struct source){NULL, 0, seed * 0x9E3779B97F4A7C15u}, calls);
    printf("%llu runs of %llu calls\n", (unsigned long long)seeds, (unsigned long long)calls);
    return 0;
}

#endif

/* Return whether a run continues after `done` calls. */
static bool goes_on(const struct source *source, uint64_t done, uint64_t calls)
{
    return source->bytes != NULL ? source->left > 0 : done < calls;
}

#endif
