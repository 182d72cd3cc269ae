/*
 * The ring buffer of a microphone. The device's thread writes and one reader reads. Neither
 * waits for the other.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/iwp_atomic.h"
#include "device/iwp_gate.h"
#include "device/iwp_meter.h"
#include "device/iwp_stream.h"
#include "device/iwp_timeline.h"

#define CAPACITY_MAX ((size_t)1 << 26) /* 23 minutes at 48 kHz */

enum { PIECE_SAMPLES = 512 }; /* the largest number of samples that are mixed at a time */

struct iw_microphone {
    const struct iw_gate *gate; /* or NULL */
    uint64_t hangover_ns;
    size_t channels;
    size_t capacity_samples; /* a power of two */
    /* Written by the callback. `written` and `dropped` count samples from the start. */
    struct iwp_word written;
    struct iwp_word dropped;
    struct iwp_word overflows;
    struct iwp_word finished;
    struct iwp_meter meter;
    struct iwp_timeline timeline;
    int was_lost; /* whether samples were lost since the last block */
    /* Written by the reader. */
    struct iwp_word read;
    struct iwp_word muted;
    int16_t ring[];
};

enum iw_status iw_microphone_create(struct iw_microphone **made, size_t capacity_samples,
                                    uint32_t channels, const struct iw_gate *gate,
                                    uint64_t hangover_ns)
{
    struct iw_microphone *microphone;
    size_t capacity = 1;

    if (capacity_samples == 0 || capacity_samples > CAPACITY_MAX || channels == 0 ||
        channels > IWP_STREAM_CHANNELS_MAX)
        return IW_BAD_ARGUMENT;
    while (capacity < capacity_samples)
        capacity *= 2;
    microphone = calloc(1, sizeof *microphone + capacity * sizeof *microphone->ring);
    if (microphone == NULL)
        return IW_NO_MEMORY;
    microphone->gate = gate;
    microphone->hangover_ns = hangover_ns;
    microphone->channels = channels;
    microphone->capacity_samples = capacity;
    *made = microphone;
    return IW_OK;
}

void iw_microphone_destroy(struct iw_microphone *microphone)
{
    free(microphone);
}

/* Return the mean of all channels, rounded towards zero. */
static int16_t mixed(const uint8_t *frame, size_t channels)
{
    int32_t sum = 0;

    for (size_t i = 0; i < channels; i++) {
        int16_t sample;

        memcpy(&sample, frame + i * sizeof sample, sizeof sample);
        sum += sample;
    }
    return (int16_t)(sum / (int32_t)channels);
}

/* Return whether audio captured at `heard_ns` may come from the speaker. */
static bool is_gated(const struct iw_microphone *microphone, uint64_t heard_ns)
{
    uint64_t until_ns;

    if (microphone->gate == NULL)
        return false;
    until_ns = iwp_load(&microphone->gate->until_ns);
    return until_ns > 0 && heard_ns < until_ns + microphone->hangover_ns;
}

/* Put as many samples into the ring as fit, and drop the rest. */
static void put(struct iw_microphone *microphone, const int16_t *samples, size_t count)
{
    uint64_t written = iwp_load(&microphone->written);
    size_t room =
        microphone->capacity_samples - (size_t)(written - iwp_load(&microphone->read));
    size_t taken = count < room ? count : room;
    size_t start = (size_t)written & (microphone->capacity_samples - 1);
    size_t first = microphone->capacity_samples - start;

    first = taken < first ? taken : first;
    memcpy(microphone->ring + start, samples, first * sizeof *samples);
    memcpy(microphone->ring, samples + first, (taken - first) * sizeof *samples);
    iwp_store(&microphone->dropped, iwp_load(&microphone->dropped) + (count - taken));
    iwp_store(&microphone->written, written + taken);
}

void iw_microphone_record(struct iw_microphone *microphone, const uint8_t *input, size_t frames,
                          unsigned long flags, uint64_t time_ns, uint64_t now_ns)
{
    int16_t piece[PIECE_SAMPLES] = {0};
    uint64_t dropped = iwp_load(&microphone->dropped);
    uint64_t written = iwp_load(&microphone->written);
    bool silent =
        input == NULL || iwp_load(&microphone->muted) != 0 || is_gated(microphone, time_ns);
    bool overflowed = (flags & IWP_STREAM_INPUT_OVERFLOW) != 0;

    if (overflowed)
        iwp_store(&microphone->overflows, iwp_load(&microphone->overflows) + 1);
    iwp_timeline_note(&microphone->timeline, written, time_ns,
                      overflowed || microphone->was_lost, written == 0 && dropped == 0);
    for (size_t done = 0; done < frames;) {
        size_t count = frames - done < PIECE_SAMPLES ? frames - done : PIECE_SAMPLES;

        for (size_t i = 0; !silent && i < count; i++)
            piece[i] = mixed(input + (done + i) * microphone->channels * sizeof(int16_t),
                             microphone->channels);
        put(microphone, piece, count);
        iwp_meter_note(&microphone->meter, (const uint8_t *)piece, count, now_ns, now_ns + 1);
        done += count;
    }
    microphone->was_lost = iwp_load(&microphone->dropped) != dropped;
}

int iw_microphone_callback(const void *input, void *output, unsigned long frames,
                           const struct iw_stream_time *time, unsigned long flags, void *user)
{
    uint64_t now_ns = iw_playout_clock_ns();
    uint64_t time_ns = now_ns;
    double age_s = time == NULL ? 0 : time->current_time - time->input_time;

    (void)output;
    if (age_s > 0 && age_s < IWP_STREAM_LATENCY_MAX_S)
        time_ns -= (uint64_t)(age_s * 1e9);
    iw_microphone_record(user, input, frames, flags, time_ns, now_ns);
    return IWP_STREAM_CONTINUE;
}

void iw_microphone_finished(void *user)
{
    struct iw_microphone *microphone = user;

    iwp_store(&microphone->finished, 1);
}

size_t iw_microphone_read(struct iw_microphone *microphone, uint8_t *out, size_t samples)
{
    uint64_t read = iwp_load(&microphone->read);
    size_t held = (size_t)(iwp_load(&microphone->written) - read);
    size_t taken = samples < held ? samples : held;
    size_t start = (size_t)read & (microphone->capacity_samples - 1);
    size_t first = microphone->capacity_samples - start;

    first = taken < first ? taken : first;
    memcpy(out, microphone->ring + start, first * sizeof *microphone->ring);
    memcpy(out + first * sizeof *microphone->ring, microphone->ring,
           (taken - first) * sizeof *microphone->ring);
    iwp_store(&microphone->read, read + taken);
    return taken;
}

void iw_microphone_mute(struct iw_microphone *microphone, int muted)
{
    iwp_store(&microphone->muted, muted != 0);
}

void iw_microphone_level(const struct iw_microphone *microphone, uint64_t from_ns,
                         struct iw_sound_level *level)
{
    iwp_meter_read(&microphone->meter, from_ns, UINT64_MAX, level);
}

size_t iw_microphone_blocks(const struct iw_microphone *microphone, uint64_t *next,
                            struct iw_block *out, size_t most)
{
    return iwp_timeline_read(&microphone->timeline, next, out, most);
}

void iw_microphone_stats(const struct iw_microphone *microphone,
                         struct iw_microphone_stats *stats)
{
    uint64_t read = iwp_load(&microphone->read);
    uint64_t written = iwp_load(&microphone->written);

    stats->captured_samples = written;
    stats->waiting_samples = written - read;
    stats->dropped_samples = iwp_load(&microphone->dropped);
    stats->overflows = iwp_load(&microphone->overflows);
    stats->finished = (uint32_t)iwp_load(&microphone->finished);
}
