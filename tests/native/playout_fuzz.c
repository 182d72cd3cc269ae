/*
 * This program makes random calls on random playouts, under sanitizers, and checks invariants
 * after each call.
 *
 *   cc -O1 -g -std=c11 -fsanitize=address,undefined -fno-sanitize-recover=all -Icsrc
 *      tests/native/playout_fuzz.c $(find csrc -name "*.c") -lm -o playout_fuzz
 *   ./playout_fuzz [first seed] [seeds] [calls]
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/iw_playout.h"
#include "fuzzing.h"

enum { EVENTS = 7, PULL_MOST = 4800, PUSH_MOST = 6000 };

struct run {
    struct source source;
    struct iw_playout *playout;
    struct iw_playout_config config;
    size_t input_bytes; /* per frame */
    size_t output_bytes;
    uint64_t now_ns;
    uint64_t item;
    uint32_t timestamp;
    uint16_t sequence;
    int64_t position; /* the last position of `item` */
    uint64_t tag;     /* the tag of the newest mark */
    uint64_t emitted; /* the count of marks that were reported or cancelled */
    uint64_t pulled;  /* the count of pulled frames */
};

/* Write speech, silence, noise, or invalid samples such as NaN. */
static void fill(struct run *run, uint8_t *bytes, size_t samples)
{
    static const float odd[] = {0, 1, -1, 1e30f, -1e30f, NAN, INFINITY, -INFINITY, 1e-40f};
    uint64_t kind = below(&run->source, 4);
    float phase = (float)below(&run->source, 1000);

    for (size_t i = 0; i < samples; i++) {
        float value = 0.5f * sinf(phase + (float)i * 0.05f) * (float)(kind != 1);

        if (kind == 2)
            value = (float)below(&run->source, 65536) / 32768.0f - 1;
        if (run->config.input_format == IW_PLAYOUT_F32) {
            if (kind == 3 && below(&run->source, 16) == 0)
                value = odd[below(&run->source, sizeof odd / sizeof *odd)];
            memcpy(bytes + i * sizeof value, &value, sizeof value);
        } else {
            int16_t sample = (int16_t)(value * 32767);

            memcpy(bytes + i * sizeof sample, &sample, sizeof sample);
        }
    }
}

static bool is_push_result(enum iw_status status)
{
    return status == IW_OK || status == IW_NO_ROOM || status == IW_STALE;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void push(struct run *run)
{
    size_t frames = size_below(&run->source, PUSH_MOST);
    uint8_t *samples = exactly(frames * run->input_bytes);
    uint32_t flags = below(&run->source, 12) == 0 ? IW_PLAYOUT_END_OF_ITEM : 0;
    uint64_t item =
        below(&run->source, 20) == 0 ? below(&run->source, run->item + 2) : run->item;
    enum iw_status status;

    fill(run, samples, frames * run->config.channels);
    switch (below(&run->source, 4)) {
    case 0:
        doing = "push_at";
        run->timestamp +=
            (uint32_t)size_below(&run->source, 2000) - (uint32_t)size_below(&run->source, 1000);
        if (below(&run->source, 100) == 0)
            run->timestamp = (uint32_t)below(&run->source, UINT32_MAX);
        status = iw_playout_push_at(run->playout, samples, frames, item, run->timestamp, flags,
                                    run->now_ns);
        run->timestamp += (uint32_t)frames;
        break;
    case 1:
        doing = "push_sequence";
        run->sequence =
            (uint16_t)(run->sequence + 1 + below(&run->source, 3) - below(&run->source, 3));
        status = iw_playout_push_sequence(run->playout, samples, frames, item, run->sequence,
                                          flags, run->now_ns);
        break;
    default:
        doing = "push";
        status = iw_playout_push(run->playout, samples, frames, item, flags, run->now_ns);
    }
    require(is_push_result(status), "the status is unknown");
    free(samples);
    if (flags && below(&run->source, 2)) {
        run->item++;
        run->position = 0;
    }
}

static void check_output(const struct run *run, const uint8_t *out, size_t frames)
{
    if (run->config.output_format != IW_PLAYOUT_F32)
        return;
    for (size_t i = 0; i < frames * run->config.channels; i++) {
        float sample;

        memcpy(&sample, out + i * sizeof sample, sizeof sample);
        require(isfinite(sample), "a sample of the output is not a finite number");
    }
}

static void pull(struct run *run)
{
    size_t frames = size_below(&run->source, PULL_MOST);
    uint8_t *out = exactly(frames * run->output_bytes);
    struct iw_playout_part parts[IW_PLAYOUT_PARTS];
    size_t sound;
    size_t count;
    size_t total = 0;

    doing = "pull";
    sound = iw_playout_pull(run->playout, out, frames, run->now_ns);
    require(sound <= frames, "more frames are audio than were pulled");
    check_output(run, out, frames);
    count = iw_playout_parts(run->playout, parts, IW_PLAYOUT_PARTS);
    for (size_t i = 0; i < count; i++)
        total += parts[i].output_frames;
    require(frames == 0 || count == IW_PLAYOUT_PARTS || total == frames, "parts and frames differ");
    free(out);
    run->pulled += frames;
    run->now_ns += (uint64_t)frames * 1000000000u / run->config.sample_rate_hz;
    if (below(&run->source, 50) == 0)
        run->now_ns += below(&run->source, 3000000000u);
}

static void take_events(struct run *run)
{
    size_t capacity = (size_t)below(&run->source, EVENTS + 1);
    struct iw_playout_event *events = exactly(capacity * sizeof *events);
    ptrdiff_t count;

    doing = "poll";
    count = iw_playout_poll(run->playout, events, capacity,
                            iw_playout_pulled(run->playout) + 100 -
                                (int64_t)size_below(&run->source, 4000));
    require(count >= 0 && (size_t)count <= capacity, "the count of events is out of range");
    for (ptrdiff_t i = 0; i < count; i++) {
        require(events[i].type >= IW_PLAYOUT_ITEM_STARTED && events[i].type <= IW_PLAYOUT_SKIP,
                "the event is unknown");
        run->emitted +=
            events[i].type == IW_PLAYOUT_MARK || events[i].type == IW_PLAYOUT_MARK_CANCELLED;
    }
    require(run->emitted <= run->tag, "a mark was reported twice");
    free(events);
}

static void mark(struct run *run)
{
    uint64_t item = run->item + below(&run->source, 3);
    enum iw_status status;

    doing = "mark";
    status = iw_playout_mark(run->playout, item, size_below(&run->source, 20000), run->tag + 1);
    require(is_push_result(status), "the status is unknown");
    run->tag += status == IW_OK;
}

static void clear(struct run *run)
{
    size_t capacity =
        below(&run->source, 8) == 0 ? (size_t)below(&run->source, 4) : IW_PLAYOUT_ITEMS;
    struct iw_playout_cleared *cleared = exactly(capacity * sizeof *cleared);
    ptrdiff_t count;

    doing = "clear";
    count = iw_playout_clear(run->playout, cleared, capacity, size_below(&run->source, 2000));
    require(count == IW_NO_ROOM || (count >= 0 && (size_t)count <= capacity),
            "the count of cleared items is out of range");
    for (ptrdiff_t i = 0; i < count; i++) {
        require(cleared[i].heard_frames <= cleared[i].received_frames,
                "more was heard than received");
        require(iw_playout_push(run->playout, NULL, 0, cleared[i].item, IW_PLAYOUT_END_OF_ITEM,
                                run->now_ns) == IW_STALE,
                "a cleared item accepts audio");
    }
    free(cleared);
    if (count >= 0) {
        run->item += 2;
        run->position = 0;
    }
}

static void ask(struct run *run)
{
    struct iw_playout_stats stats;
    int64_t position = iw_playout_position(run->playout, run->item, INT64_MAX);

    doing = "position";
    require(position >= 0 || position == IW_STALE, "the status is unknown");
    if (position >= 0) {
        require(position >= run->position, "the position has decreased");
        run->position = position;
    }
    doing = "stats";
    iw_playout_stats(run->playout, &stats);
    require(stats.state <= IW_PLAYOUT_DRAINED, "the state is unknown");
    require(stats.pulled_frames == run->pulled, "pulled frames were not counted");
    require(isfinite(stats.target_delay_ms) && isfinite(stats.delay_ms),
            "a delay is not a finite number");
    /* Lost packets count as queued frames, up to the largest jump of timestamps. */
    require(stats.queued_frames <=
                (uint64_t)run->config.capacity_ms * run->config.sample_rate_hz / 1000 +
                    5 * run->config.sample_rate_hz,
            "more is queued than the capacity");
}

static void call(struct run *run)
{
    switch (below(&run->source, 32)) {
    case 0: clear(run); break;
    case 1: iw_playout_pause(run->playout, (int)below(&run->source, 2)); break;
    case 2:
    case 3: mark(run); break;
    case 4:
    case 5: take_events(run); break;
    case 6: ask(run); break;
    default:
        if (below(&run->source, 2))
            push(run);
        else
            pull(run);
    }
    run->now_ns += below(&run->source, 4000000);
}

/* ---- runs ------------------------------------------------------------------------------------- */

static void start(struct run *run)
{
    static const uint32_t rates_hz[] = {8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000};
    static const double costs[] = {0, 3e5, 9e5, 2e6, 1e12};

    run->config = (struct iw_playout_config){
        .sample_rate_hz = rates_hz[below(&run->source, 8)],
        .channels = 1 + (uint32_t)below(&run->source, 2),
        .input_format = (uint32_t)below(&run->source, 2),
        .output_format = (uint32_t)below(&run->source, 2),
        .mode = (uint32_t)below(&run->source, 2),
        .min_delay_ms = (uint32_t)below(&run->source, 50),
        .max_delay_ms = 50 + (uint32_t)below(&run->source, 2000),
        .start_ms = (uint32_t)below(&run->source, 2) * (uint32_t)below(&run->source, 300),
        .capacity_ms = 10 + (uint32_t)below(&run->source, 3000),
        .fade_ms = 1 + (uint32_t)below(&run->source, 10),
        .fixed_speed = below(&run->source, 4) == 0,
        .fixed_silence = below(&run->source, 4) == 0,
        .gap_cost = costs[below(&run->source, 5)],
    };
    run->input_bytes = (run->config.input_format ? 4 : 2) * run->config.channels;
    run->output_bytes = (run->config.output_format ? 4 : 2) * run->config.channels;
    run->now_ns = below(&run->source, 1u << 30);
    run->item = 1;
    run->timestamp = (uint32_t)(UINT32_MAX - below(&run->source, 20000));
    run->sequence = (uint16_t)(UINT16_MAX - below(&run->source, 20));
    doing = "create";
    require(iw_playout_create(&run->playout, &run->config) == IW_OK,
            "a valid config was refused");
}

static void run_once(struct source source, uint64_t calls)
{
    struct run run = {.source = source};

    start(&run);
    for (uint64_t done = 0; goes_on(&run.source, done, calls); done++)
        call(&run);
    iw_playout_destroy(run.playout);
}
