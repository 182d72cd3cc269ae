/*
 * This program tests the C core with a device, a program and a user at the same time.
 * test_device_threads.py builds this file with all of csrc and runs the result:
 * device_threads [clears] [seed]
 *
 * Microphone: a thread delivers numbered samples in blocks of any size, and a reader reads them.
 * Every number must be read once and in order, or must be counted as dropped.
 *
 * Speaker: a thread plays in simulated time, as fast as it can. At random times, a program pushes
 * to three playouts of the mixer, ends and clears them, changes their gains, and removes and frees
 * some of them. A user reads the counts and levels at the same time. After a clear, the device must
 * have pulled exactly the frames that were pushed, except those that clears reported as
 * dropped. The count of heard frames must never decrease, and must never exceed the count of
 * pulled frames.
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
    NUMBERS = 32749, /* count of different samples, more than the ring holds */
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

/* Read up to `most` samples, and return the count. Add the dropped samples to `skipped`. */
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

/* Wait until the device has delivered more samples than the ring can hold. */
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
    /* Samples that were dropped after the last read are not visible in the numbers. */
    skipped += atomic_load(&brought) - next;
    if (skipped != (long long)stats.dropped_samples)
        fail("dropped samples", skipped, (long long)stats.dropped_samples);
    if (stats.captured_samples + stats.dropped_samples != (uint64_t)atomic_load(&brought))
        fail("samples", (long long)stats.captured_samples, atomic_load(&brought));
    printf("microphone: %lld samples, %lld dropped\n", atomic_load(&brought), skipped);
    iw_microphone_destroy(microphone);
}

/* ---- speaker -------------------------------------------------------------------------------- */

enum { VOICES = 3 };

struct source {
    struct iw_playout *playout;
    struct iw_track *track;
    uint64_t item;
    uint64_t total; /* frames pushed and not dropped */
};

static struct source sources[VOICES]; /* the first source is never removed */
static struct iw_mixer *mixer;
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
    uint64_t last = 0;

    (void)argument;
    while (!atomic_load(&stop)) {
        uint64_t until_ns = atomic_load(&now_ns);
        uint64_t heard = iw_track_heard(sources[0].track, until_ns);
        uint64_t taken = iw_track_taken(sources[0].track);
        struct iw_sound_level level;

        if (heard < last)
            fail("the heard count decreased", (long long)heard, (long long)last);
        if (heard > taken)
            fail("heard count exceeds pulled count", (long long)heard, (long long)taken);
        last = heard;
        iw_speaker_level(speaker, until_ns > 50000000 ? until_ns - 50000000 : 0, until_ns, &level);
        if (level.energy > level.samples * ((uint64_t)level.peak * level.peak))
            fail("the energy is too high for the peak", (long long)level.energy, level.peak);
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

static void add_source(size_t voice)
{
    static const struct iw_playout_config config = {
        .sample_rate_hz = RATE,
        .channels = 1,
        .output_format = IW_PLAYOUT_F32,
        .max_delay_ms = 1000,
        .capacity_ms = 2000,
        .fade_ms = 5,
        .gap_cost = 1e6,
    };
    struct source *source = &sources[voice];

    if (iw_playout_create(&source->playout, &config) != IW_OK ||
        iw_track_create(&source->track, RATE) != IW_OK ||
        iw_mixer_adjust(mixer, voice, 1, 0.25, (uint32_t)(VOICES - voice)) != IW_OK ||
        iw_mixer_set(mixer, voice, source->playout, source->track) != IW_OK)
        abort();
    source->item = 1;
    source->total = 0;
}

static void remove_source(size_t voice)
{
    uint64_t turn;

    iw_mixer_set(mixer, voice, NULL, NULL);
    turn = iw_mixer_turn(mixer);
    while (turn % 2 != 0 && iw_mixer_turn(mixer) == turn)
        sched_yield();
    iw_playout_destroy(sources[voice].playout);
    iw_track_destroy(sources[voice].track);
}

static void check_taken(const struct source *source)
{
    uint64_t taken = iw_track_taken(source->track);

    if (taken != source->total)
        fail("pulled frames differ from kept frames", (long long)taken, (long long)source->total);
}

static void push_to(struct source *source, unsigned *random)
{
    static int16_t chunk[PUSH_MOST];
    size_t frames = 1 + next_random(random) % PUSH_MOST;
    uint32_t flags = next_random(random) % 8 == 0 ? IW_PLAYOUT_END_OF_ITEM : 0;

    for (size_t i = 0; i < frames; i++)
        chunk[i] = (int16_t)(next_random(random) % 4001) - 2000;
    if (iw_playout_push(source->playout, (const uint8_t *)chunk, frames, source->item, flags,
                        atomic_load(&now_ns)) == IW_OK) {
        source->total += frames;
        source->item += flags;
    }
}

static void clear_source(struct source *source)
{
    struct iw_playout_cleared cleared[IW_PLAYOUT_ITEMS];
    ptrdiff_t count = iw_playout_clear(source->playout, cleared, IW_PLAYOUT_ITEMS, 0);

    for (ptrdiff_t i = 0; i < count; i++)
        source->total -= cleared[i].received_frames - cleared[i].heard_frames;
    source->item++;
}

/* Make the calls of the program while the device plays, until `clears` clears are done. */
static void work(unsigned seed, size_t clears)
{
    unsigned random = seed + 4;

    for (size_t done = 0; done < clears;) {
        size_t voice = next_random(&random) % VOICES;

        push_to(&sources[voice], &random);
        if (next_random(&random) % 32 == 0)
            iw_mixer_adjust(mixer, voice, next_random(&random) % 400 / 100.0, 0.1,
                            next_random(&random) % 4);
        if (next_random(&random) % 12 == 0) {
            clear_source(&sources[voice]);
            done++;
            if (done % 8 == 0) {
                wait_for_blocks(3);
                check_taken(&sources[voice]);
            }
            if (voice > 0 && done % 16 < 2) {
                remove_source(voice);
                add_source(voice);
            }
        }
        sched_yield();
    }
}

static void check_speaker(unsigned seed, size_t clears)
{
    static const struct iw_mixer_config config = {
        .sample_rate_hz = RATE,
        .channels = 1,
        .attack_ms = 30,
        .release_ms = 300,
        .hold_ms = 250,
    };
    static const struct iw_speaker_config settings = {.sample_rate_hz = RATE, .channels = 1};
    pthread_t threads[3];

    if (iw_mixer_create(&mixer, &config) != IW_OK || iw_gate_create(&gate) != IW_OK ||
        iw_speaker_create(&speaker, mixer, gate, &settings) != IW_OK)
        abort();
    for (size_t i = 0; i < VOICES; i++)
        add_source(i);
    atomic_store(&stop, 0);
    pthread_create(&threads[0], NULL, play, &seed);
    pthread_create(&threads[1], NULL, ask, NULL);
    pthread_create(&threads[2], NULL, ask, NULL);
    work(seed, clears);
    atomic_store(&stop, 1);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("speaker: %zu clears, %llu frames taken of the first voice\n", clears,
           (unsigned long long)iw_track_taken(sources[0].track));
    iw_speaker_destroy(speaker);
    for (size_t i = 0; i < VOICES; i++)
        remove_source(i);
    iw_mixer_destroy(mixer);
    iw_gate_destroy(gate);
}

int main(int count, char **arguments)
{
    size_t clears = count > 1 ? strtoul(arguments[1], NULL, 10) : 500;
    unsigned seed = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1;

    check_microphone(seed, 20 * clears);
    check_speaker(seed, clears);
    return atomic_load(&failures) > 0;
}
