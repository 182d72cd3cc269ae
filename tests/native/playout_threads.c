/*
 * This program tests three threads on one playout. A clear must report exactly how many frames
 * are heard.
 *
 *   cc -O1 -g -std=c11 -pthread -fsanitize=thread -Icsrc tests/native/playout_threads.c
 *      $(find csrc -name "*.c") -lm -o playout_threads
 *   ./playout_threads [clears] [seed] [stretch (0 or 1)] [frames of the largest pull]
 *
 * The producer pushes frames whose value is their position in the stream. The consumer pulls in
 * simulated time, as fast as possible, and records the frames. The controller clears, polls and
 * sets marks at random times. At the end, the test compares the records of the threads, and
 * checks two facts:
 * - Exactly the reported frames of every cleared item were heard. Each of these frames was
 *   heard once: it was either played or in the fade.
 * - Each mark of a cleared item was reported once, and correctly as reached or as cancelled.
 *
 * Without `stretch`, the values of the output must be those of the frames in the list of parts,
 * except in fades and in the 5 ms after concealment. With `stretch`, the values are mixed by time
 * scaling, so only the list of parts is checked.
 */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/iw_playout.h"

enum {
    RATE = 16000,
    FADE = 80,    /* 5 ms */
    CYCLE = 8192, /* count of different values; each value is exact in a float */
    FRAMES = 1 << 24,
    MARKS = 1 << 16,
    PUSH_MOST = 1200,
    PULL_MOST = 4096
};

struct clear {
    uint64_t item;
    int64_t start;
    uint64_t received;
    uint64_t heard;
};

struct mark {
    uint64_t item;
    uint64_t offset;
    int fired;
    int cancelled;
};

static struct iw_playout *playout;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop;
static bool stretch;
static size_t pull_most = 480;

/* Guarded by the lock. */
static uint64_t item = 1;
static int64_t item_start;
static int64_t written;
static struct mark marks[MARKS];
static size_t marks_count;
static size_t events[16];

/* Used by the consumer only. */
static uint8_t *heard; /* how many times each frame was heard */
static size_t failures;
static atomic_size_t pulls;
static uint64_t pulled; /* frames */

static void fail(const char *what, long long a, long long b)
{
    if (failures++ < 10)
        printf("FAIL %s: %lld %lld\n", what, a, b);
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static float value_of(int64_t frame)
{
    return ((float)(frame % CYCLE) - CYCLE / 2) / CYCLE;
}

/* ---- producer --------------------------------------------------------------------------------- */

static void *produce(void *argument)
{
    static float chunk[PUSH_MOST];
    unsigned random = *(unsigned *)argument + 1;

    while (!atomic_load(&stop)) {
        size_t frames = 1 + next_random(&random) % PUSH_MOST;
        enum iw_status status;

        pthread_mutex_lock(&lock);
        for (size_t i = 0; i < frames; i++)
            chunk[i] = value_of(written + (int64_t)i);
        if (written + (int64_t)frames < FRAMES) {
            status = iw_playout_push(playout, (const uint8_t *)chunk, frames, item, 0,
                                     iw_playout_clock_ns());
            if (status == IW_OK)
                written += (int64_t)frames;
            else if (status != IW_NO_ROOM)
                fail("push", status, (long long)item);
        }
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
    return NULL;
}

/* ---- consumer --------------------------------------------------------------------------------- */

static void note(int64_t frame)
{
    if (frame < 0 || frame >= FRAMES || heard[frame]++ > 0)
        fail("a frame was heard twice or was never pushed", frame, 0);
}

/* Return the frame near `expected` whose value is `value`. */
static int64_t frame_of(double value, int64_t expected)
{
    int64_t in_cycle = (int64_t)lround(value * CYCLE + CYCLE / 2);
    int64_t away = ((in_cycle - expected) % CYCLE + CYCLE) % CYCLE;

    return expected + (away > CYCLE / 2 ? away - CYCLE : away);
}

/* Record the frames of unchanged output, and check their values. The values of the first 5 ms
 * after concealment are not checked. */
static void note_values(const float *out, const struct iw_playout_part *part, size_t mixed)
{
    for (size_t i = 0; i < part->source_frames; i++) {
        int64_t expected = part->position + (int64_t)i;

        if (i >= mixed && frame_of(out[i], expected) != expected)
            fail("a frame has a wrong value", expected, frame_of(out[i], expected));
        note(expected);
    }
}

static void note_pull(const float *out, size_t frames)
{
    static size_t mixed;
    static uint32_t last = IW_PLAYOUT_IDLE; /* the kind of the previous part */
    struct iw_playout_part parts[IW_PLAYOUT_PARTS];
    size_t count = iw_playout_parts(playout, parts, IW_PLAYOUT_PARTS);
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        const struct iw_playout_part *part = &parts[i];
        bool sound = part->kind == IW_PLAYOUT_PLAYED || part->kind == IW_PLAYOUT_FADED;

        if (!sound || stretch || part->kind == IW_PLAYOUT_FADED) {
            for (size_t k = 0; sound && k < part->source_frames; k++)
                note(part->position + (int64_t)k);
        } else {
            note_values(out + done, part, mixed);
        }
        if (part->kind == IW_PLAYOUT_CONCEALED)
            mixed = FADE;
        else
            mixed -= part->output_frames < mixed ? part->output_frames : mixed;
        if (part->kind == IW_PLAYOUT_FADED && last == IW_PLAYOUT_IDLE)
            fail("a fade follows silence", part->position, part->output_frames);
        last = part->kind;
        done += part->output_frames;
    }
    pulled += frames;
    if (done != frames)
        fail("the parts differ from the pull", (long long)done, (long long)frames);
    atomic_fetch_add(&pulls, 1);
}

static void *consume(void *argument)
{
    static float out[PULL_MOST];
    unsigned random = *(unsigned *)argument + 2;
    uint64_t now_ns = 1000000000u;

    while (!atomic_load(&stop)) {
        size_t frames = 1 + next_random(&random) % pull_most;

        iw_playout_pull(playout, (uint8_t *)out, frames, now_ns);
        note_pull(out, frames);
        now_ns += (uint64_t)frames * 1000000000u / RATE;
    }
    return NULL;
}

/* ---- controller ------------------------------------------------------------------------------- */

static void take_events(void)
{
    struct iw_playout_event polled[32];
    ptrdiff_t count;

    do {
        count = iw_playout_poll(playout, polled, 32, INT64_MAX);
        for (ptrdiff_t i = 0; i < count; i++) {
            events[polled[i].type]++;
            if (polled[i].type == IW_PLAYOUT_MARK)
                marks[polled[i].tag].fired++;
            if (polled[i].type == IW_PLAYOUT_MARK_CANCELLED)
                marks[polled[i].tag].cancelled++;
        }
    } while (count == 32);
}

static void set_mark(unsigned *random)
{
    int64_t offset = written - item_start + (int64_t)(next_random(random) % 4000) - 2000;

    if (offset < 0 || marks_count == MARKS)
        return;
    if (iw_playout_mark(playout, item, (uint64_t)offset, marks_count) == IW_OK)
        marks[marks_count++] = (struct mark){item, (uint64_t)offset, 0, 0};
}

static void ask(int64_t *last)
{
    int64_t position = iw_playout_position(playout, item, INT64_MAX);
    struct iw_playout_stats stats;

    if (position == IW_STALE)
        position = 0; /* nothing of the item was pushed yet */
    if (position < *last || position > written - item_start)
        fail("the position is out of range", position, *last);
    *last = position;
    iw_playout_stats(playout, &stats);
    if (stats.received_frames < stats.queued_frames)
        fail("received < queued", (long long)stats.received_frames, (long long)stats.queued_frames);
}

/* Clear at most one item. Returns whether an item was cleared. */
static bool clear(struct clear *noted)
{
    struct iw_playout_cleared cleared[IW_PLAYOUT_ITEMS];
    ptrdiff_t count = iw_playout_clear(playout, cleared, IW_PLAYOUT_ITEMS, 0);

    *noted = (struct clear){item, item_start, (uint64_t)(written - item_start), 0};
    if (count < 0 || count > 1)
        fail("the count of cleared items is wrong", count, 0);
    if (count == 1 && cleared[0].item != item)
        fail("wrong item cleared", (long long)cleared[0].item, (long long)item);
    if (count == 1 && cleared[0].received_frames != noted->received)
        fail("received frames", (long long)cleared[0].received_frames,
             (long long)noted->received);
    noted->heard = count == 1 ? cleared[0].heard_frames : 0;
    item++;
    item_start = written;
    return count == 1;
}

static size_t control(struct clear *clears, size_t goal, unsigned seed)
{
    unsigned random = seed + 3;
    size_t count = 0;
    int64_t last = 0;
    int64_t length = 0; /* an item is cleared when it has more frames than this */

    while (count < goal) {
        unsigned what = next_random(&random) % 64;
        bool full;

        sched_yield();
        pthread_mutex_lock(&lock);
        full = written + PUSH_MOST >= FRAMES;
        if (written - item_start > length || full) {
            count += clear(&clears[count]);
            last = 0;
            length = next_random(&random) % (3 * RATE / 2);
        } else if (what < 8) {
            set_mark(&random);
        } else if (what < 16) {
            take_events();
        } else {
            ask(&last);
        }
        pthread_mutex_unlock(&lock);
        if (full)
            break;
    }
    /* Wait until the fade of the last clear was heard. */
    for (size_t before = atomic_load(&pulls); atomic_load(&pulls) < before + FADE + 2;)
        sched_yield();
    return count;
}

/* ---- the comparison --------------------------------------------------------------------------- */

static size_t compare(const struct clear *clears, size_t count)
{
    size_t inside = 0;

    for (size_t i = 0; i < count; i++) {
        bool wrong = false;

        for (uint64_t k = 0; k < clears[i].received; k++)
            wrong |= (heard[clears[i].start + (int64_t)k] == 1) != (k < clears[i].heard);
        if (wrong)
            fail("heard frames not as reported", clears[i].start, (long long)clears[i].heard);
        inside += clears[i].heard > 0 && clears[i].heard < clears[i].received;
    }
    return inside;
}

static void compare_figures(size_t clears)
{
    struct iw_playout_stats stats;

    iw_playout_stats(playout, &stats);
    if (stats.pulled_frames != pulled)
        fail("frames pulled", (long long)stats.pulled_frames, (long long)pulled);
    if (stats.received_frames != (uint64_t)written)
        fail("frames received", (long long)stats.received_frames, (long long)written);
    if (stats.clears < clears)
        fail("clears", (long long)stats.clears, (long long)clears);
}

static void compare_marks(const struct clear *clears, size_t count)
{
    for (size_t i = 0; i < marks_count; i++) {
        const struct mark *mark = &marks[i];

        if (mark->fired + mark->cancelled > 1)
            fail("a mark was reported twice", (long long)i, mark->fired);
        for (size_t k = 0; k < count; k++) {
            bool reached = clears[k].heard > 0 && mark->offset <= clears[k].heard;

            if (mark->item == clears[k].item &&
                (mark->fired != reached || mark->cancelled == reached))
                fail("wrong report of a mark", (long long)mark->offset,
                     (long long)clears[k].heard);
        }
    }
}

int main(int argc, char **argv)
{
    size_t goal = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 500;
    unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    struct iw_playout_config config = {
        .sample_rate_hz = RATE,
        .channels = 1,
        .input_format = IW_PLAYOUT_F32,
        .output_format = IW_PLAYOUT_F32,
        .mode = IW_PLAYOUT_BURST,
        .min_delay_ms = 10,
        .max_delay_ms = 1500,
        .capacity_ms = 2000,
        .fade_ms = 5,
        .gap_cost = 1e6,
    };
    struct clear *clears = calloc(goal, sizeof *clears);
    pthread_t producer;
    pthread_t consumer;
    size_t count;
    size_t inside;

    stretch = argc > 3 && atoi(argv[3]) != 0;
    if (argc > 4)
        pull_most = (size_t)strtoul(argv[4], NULL, 10);
    config.fixed_speed = !stretch;
    heard = calloc(FRAMES, 1);
    if (clears == NULL || heard == NULL || pull_most == 0 || pull_most > PULL_MOST ||
        iw_playout_create(&playout, &config) != IW_OK)
        return 2;
    pthread_create(&producer, NULL, produce, &seed);
    pthread_create(&consumer, NULL, consume, &seed);
    count = control(clears, goal, seed);
    atomic_store(&stop, 1);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    take_events();
    inside = compare(clears, count);
    compare_marks(clears, count);
    compare_figures(count);
    printf(
        "clears %zu, of them within an item %zu; pulls %zu; frames %lld; marks %zu, fired %zu, "
        "cancelled %zu; stalls %zu; failures %zu\n",
        count, inside, atomic_load(&pulls), (long long)written, marks_count,
        events[IW_PLAYOUT_MARK], events[IW_PLAYOUT_MARK_CANCELLED], events[IW_PLAYOUT_STALL],
        failures);
    iw_playout_destroy(playout);
    free(clears);
    free(heard);
    return failures > 0;
}
