/*
 * Devices, programs and users at once: nothing is lost uncounted, and clears are final.
 * test_device_threads.py builds it with all of csrc and runs it: device_threads [clears] [seed]
 *
 * A microphone's device thread brings numbered samples in blocks of any size, and a reader takes
 * them: every number comes once and in order, or is counted as dropped.
 *
 * A speaker's device thread plays in simulated time, as fast as it can. A program pushes, ends
 * and clears at arbitrary moments, and a user asks all the while what was heard. What the device
 * took is, after every clear, the sum of what the clears reported; the user's count never goes
 * back, and is never above what the device took.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/iw_device.h"

enum {
    RATE = 16000,
    BLOCK_MOST = 800,
    PUSH_MOST = 1200,
    RING = 4000,
    NUMBERS = 32749, /* samples repeat after so many; a gap of a ring is told from none */
    LATENCY_NS = 40000000
};

static atomic_int stop;
static atomic_size_t failures;

static void fail(const char *what, long long a, long long b)
{
    if (atomic_fetch_add(&failures, 1) < 10)
        printf("FAIL %s: %lld %lld\n", what, a, b);
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* ---- microphone ----------------------------------------------------------------------------- */

static struct iw_microphone *microphone;
static atomic_llong brought;

static void *record(void *argument)
{
    unsigned random = *(unsigned *)argument + 1;
    int16_t block[BLOCK_MOST];
    long long number = 0;

    while (!atomic_load(&stop)) {
        size_t frames = 1 + next_random(&random) % BLOCK_MOST;

        for (size_t i = 0; i < frames; i++)
            block[i] = (int16_t)((number + (long long)i) % NUMBERS);
        iw_microphone_callback(block, NULL, (unsigned long)frames, NULL, 0, microphone);
        number += (long long)frames;
        atomic_store(&brought, number);
        sched_yield();
    }
    return NULL;
}

/* Read up to so many; gives how many came, and adds what was left out to `skipped`. */
static size_t take(size_t most, long long *next, long long *skipped)
{
    int16_t out[BLOCK_MOST];
    size_t taken = iw_microphone_read(microphone, (uint8_t *)out, most);

    for (size_t i = 0; i < taken; i++) {
        long long gap = (out[i] - *next % NUMBERS + NUMBERS) % NUMBERS;

        *skipped += gap;
        *next += gap + 1;
    }
    return taken;
}

/* Let the device bring more than the ring holds. */
static void fall_behind(void)
{
    long long enough = atomic_load(&brought) + 2 * RING;

    while (atomic_load(&brought) < enough)
        sched_yield();
}

static void check_microphone(unsigned seed, size_t rounds)
{
    struct iw_microphone_stats stats;
    unsigned random = seed + 2;
    pthread_t device;
    long long next = 0;
    long long skipped = 0;

    if (iw_microphone_create(&microphone, RING, 1, NULL, 0) != IW_OK)
        abort();
    atomic_store(&stop, 0);
    pthread_create(&device, NULL, record, &seed);
    for (size_t i = 0; i < rounds; i++) {
        take(1 + next_random(&random) % BLOCK_MOST, &next, &skipped);
        if (next_random(&random) % 64 == 0)
            fall_behind();
    }
    atomic_store(&stop, 1);
    pthread_join(device, NULL);
    while (take(BLOCK_MOST, &next, &skipped) > 0)
        ;
    iw_microphone_stats(microphone, &stats);
    /* What was dropped behind the last sample that came cannot be seen in the numbers. */
    skipped += atomic_load(&brought) - next;
    if (skipped != (long long)stats.dropped_samples)
        fail("dropped samples", skipped, (long long)stats.dropped_samples);
    if (stats.captured_samples + stats.dropped_samples != (uint64_t)atomic_load(&brought))
        fail("samples", (long long)stats.captured_samples, atomic_load(&brought));
    printf("microphone: %lld samples, %lld dropped\n", atomic_load(&brought), skipped);
    iw_microphone_destroy(microphone);
}

/* ---- speaker -------------------------------------------------------------------------------- */

static struct iw_playout *playout;
static struct iw_speaker *speaker;
static struct iw_gate *gate;
static atomic_ullong now_ns;
static atomic_ullong blocks;

static void *play(void *argument)
{
    static uint8_t out[BLOCK_MOST * 2];
    unsigned random = *(unsigned *)argument + 3;
    uint64_t time_ns = 1000000000;

    while (!atomic_load(&stop)) {
        size_t frames = 1 + next_random(&random) % BLOCK_MOST;

        iw_speaker_play(speaker, out, frames, LATENCY_NS, time_ns);
        time_ns += frames * 1000000000ull / RATE;
        atomic_store(&now_ns, time_ns);
        atomic_fetch_add(&blocks, 1);
        sched_yield();
    }
    return NULL;
}

static void *ask(void *argument)
{
    struct iw_speaker_stats stats;
    uint64_t last = 0;

    (void)argument;
    while (!atomic_load(&stop)) {
        uint64_t heard = iw_speaker_heard(speaker, atomic_load(&now_ns));

        iw_speaker_stats(speaker, &stats);
        if (heard < last)
            fail("heard went back", (long long)heard, (long long)last);
        if (heard > stats.taken_frames)
            fail("heard more than taken", (long long)heard, (long long)stats.taken_frames);
        last = heard;
        sched_yield();
    }
    return NULL;
}

static void wait_for_blocks(unsigned long long count)
{
    unsigned long long enough = atomic_load(&blocks) + count;

    while (atomic_load(&blocks) < enough)
        sched_yield();
}

static void check_speaker(unsigned seed, size_t clears)
{
    static const struct iw_playout_config config = {
        .sample_rate_hz = RATE,
        .channels = 1,
        .max_delay_ms = 1000,
        .capacity_ms = 2000,
        .fade_ms = 5,
        .gap_cost = 1e6,
    };
    static const struct iw_speaker_config settings = {.sample_rate_hz = RATE, .channels = 1};
    static uint8_t chunk[PUSH_MOST * 2];
    struct iw_playout_cleared cleared[IW_PLAYOUT_ITEMS];
    struct iw_speaker_stats stats;
    unsigned random = seed + 4;
    uint64_t item = 1;
    uint64_t total = 0;
    pthread_t threads[3];

    if (iw_playout_create(&playout, &config) != IW_OK || iw_gate_create(&gate) != IW_OK ||
        iw_speaker_create(&speaker, playout, gate, &settings) != IW_OK)
        abort();
    atomic_store(&stop, 0);
    pthread_create(&threads[0], NULL, play, &seed);
    pthread_create(&threads[1], NULL, ask, NULL);
    pthread_create(&threads[2], NULL, ask, NULL);
    for (size_t done = 0; done < clears;) {
        size_t frames = 1 + next_random(&random) % PUSH_MOST;
        uint32_t flags = next_random(&random) % 8 == 0 ? IW_PLAYOUT_END_OF_ITEM : 0;

        if (iw_playout_push(playout, chunk, frames, item, flags, atomic_load(&now_ns)) ==
            IW_OK) {
            total += frames;
            item += flags;
        }
        if (next_random(&random) % 12 == 0) {
            ptrdiff_t count = iw_playout_clear(playout, cleared, IW_PLAYOUT_ITEMS, 0);

            for (ptrdiff_t i = 0; i < count; i++)
                total -= cleared[i].received_frames - cleared[i].heard_frames;
            item++;
            done++;
            if (done % 8 == 0) {
                wait_for_blocks(3);
                iw_speaker_stats(speaker, &stats);
                if (stats.taken_frames != total)
                    fail("taken and reported", (long long)stats.taken_frames, (long long)total);
            }
        }
        sched_yield();
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("speaker: %zu clears, %llu frames taken\n", clears, (unsigned long long)total);
    iw_speaker_destroy(speaker);
    iw_gate_destroy(gate);
    iw_playout_destroy(playout);
}

int main(int count, char **arguments)
{
    size_t clears = count > 1 ? strtoul(arguments[1], NULL, 10) : 500;
    unsigned seed = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1;

    check_microphone(seed, 20 * clears);
    check_speaker(seed, clears);
    return atomic_load(&failures) > 0;
}
