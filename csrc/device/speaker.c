/* A speaker: the device's thread pulls from a mixer, and records the time of the output. */
#include <stdlib.h>
#include <string.h>

#include "common/iwp_atomic.h"
#include "device/iwp_gate.h"
#include "device/iwp_meter.h"
#include "device/iwp_stream.h"
#include "device/iwp_tap.h"
#include "playout/iwp_mixer.h"

#define NS_PER_S 1e9

struct iw_speaker {
    struct iw_mixer *mixer;
    struct iw_gate *gate;
    double ns_per_frame;
    size_t channels;
    uint64_t latency_ns; /* used if the stream clock reports no latency */
    uint64_t warm_up_frames;
    struct iwp_pointer tap; /* to a struct iw_tap, or NULL */
    /* Used by the callback only. */
    int is_tapped; /* whether the tap has a block of this speaker */
    int is_broken; /* whether a gap has occurred since the last block in the tap */
    /* Written by the callback. */
    struct iwp_word blocks;
    struct iwp_word frames;
    struct iwp_word underflows;
    struct iwp_word ahead_ns; /* the time from the last pull until its block is heard */
    struct iwp_word finished;
    struct iwp_meter meter;
};

enum iw_status iw_speaker_create(struct iw_speaker **made, struct iw_mixer *mixer,
                                 struct iw_gate *gate, const struct iw_speaker_config *config)
{
    struct iw_speaker *speaker;

    if (config->sample_rate_hz < 8000 || config->sample_rate_hz > 48000 ||
        config->channels == 0 || config->channels > IWP_STREAM_CHANNELS_MAX)
        return IW_BAD_ARGUMENT;
    speaker = calloc(1, sizeof *speaker);
    if (speaker == NULL)
        return IW_NO_MEMORY;
    speaker->mixer = mixer;
    speaker->gate = gate;
    speaker->ns_per_frame = NS_PER_S / config->sample_rate_hz;
    speaker->channels = config->channels;
    speaker->latency_ns = config->latency_ns;
    speaker->warm_up_frames = config->warm_up_frames;
    *made = speaker;
    return IW_OK;
}

void iw_speaker_destroy(struct iw_speaker *speaker)
{
    free(speaker);
}

static uint64_t ns_of(const struct iw_speaker *speaker, uint64_t frames)
{
    return (uint64_t)((double)frames * speaker->ns_per_frame);
}

/* Pull frames from the mixer. The first frame is heard at `heard_ns`. */
static void take(struct iw_speaker *speaker, uint8_t *out, size_t frames, uint64_t heard_ns,
                 uint64_t now_ns)
{
    uint64_t end_ns = heard_ns + ns_of(speaker, frames);

    if (iwp_mixer_pull(speaker->mixer, out, frames, now_ns, heard_ns) > 0)
        iwp_store(&speaker->gate->until_ns, end_ns);
    iwp_meter_note(&speaker->meter, out, frames, heard_ns, end_ns);
}

/* Copy one channel to all channels, in place, from the last frame to the first. */
static void spread(uint8_t *out, size_t frames, size_t channels)
{
    for (size_t frame = frames; frame > 0 && channels > 1; frame--) {
        int16_t sample;

        memcpy(&sample, out + (frame - 1) * sizeof sample, sizeof sample);
        for (size_t channel = 0; channel < channels; channel++)
            memcpy(out + ((frame - 1) * channels + channel) * sizeof sample, &sample,
                   sizeof sample);
    }
}

/* Copy a block of one channel to the tap, if there is a tap. */
static void copy_to_tap(struct iw_speaker *speaker, const uint8_t *samples, size_t frames,
                        uint64_t heard_ns)
{
    struct iw_tap *tap = iwp_load_pointer(&speaker->tap);

    if (tap == NULL)
        return;
    iwp_tap_put(tap, samples, frames, heard_ns, speaker->is_broken, !speaker->is_tapped);
    speaker->is_tapped = 1;
    speaker->is_broken = 0;
}

void iw_speaker_tap(struct iw_speaker *speaker, struct iw_tap *tap)
{
    iwp_store_pointer(&speaker->tap, tap);
}

void iw_speaker_play(struct iw_speaker *speaker, uint8_t *out, size_t frames,
                     uint64_t latency_ns, uint64_t now_ns)
{
    size_t silent = frames < speaker->warm_up_frames ? frames : (size_t)speaker->warm_up_frames;
    size_t rest = frames - silent;

    memset(out, 0, silent * sizeof(int16_t));
    speaker->warm_up_frames -= silent;
    if (rest > 0)
        take(speaker, out + silent * sizeof(int16_t), rest,
             now_ns + latency_ns + ns_of(speaker, silent), now_ns);
    copy_to_tap(speaker, out, frames, now_ns + latency_ns);
    spread(out, frames, speaker->channels);
    iwp_store(&speaker->ahead_ns, latency_ns);
    iwp_store(&speaker->frames, iwp_load(&speaker->frames) + frames);
    iwp_store(&speaker->blocks, iwp_load(&speaker->blocks) + 1);
}

int iw_speaker_callback(const void *input, void *output, unsigned long frames,
                        const struct iw_stream_time *time, unsigned long flags, void *user)
{
    struct iw_speaker *speaker = user;
    uint64_t latency_ns = speaker->latency_ns;
    double ahead_s = time == NULL ? -1 : time->output_time - time->current_time;

    (void)input;
    /* A host without a stream clock reports 0 for both times. */
    if (ahead_s >= 0 && ahead_s <= IWP_STREAM_LATENCY_MAX_S && time->output_time > 0)
        latency_ns = (uint64_t)(ahead_s * NS_PER_S);
    speaker->is_broken |= (flags & IWP_STREAM_OUTPUT_UNDERFLOW) != 0;
    if (flags & IWP_STREAM_OUTPUT_UNDERFLOW)
        iwp_store(&speaker->underflows, iwp_load(&speaker->underflows) + 1);
    iw_speaker_play(speaker, output, frames, latency_ns, iw_playout_clock_ns());
    return IWP_STREAM_CONTINUE;
}

void iw_speaker_finished(void *user)
{
    struct iw_speaker *speaker = user;

    iwp_store(&speaker->finished, 1);
}

void iw_speaker_level(const struct iw_speaker *speaker, uint64_t from_ns, uint64_t until_ns,
                      struct iw_sound_level *level)
{
    iwp_meter_read(&speaker->meter, from_ns, until_ns, level);
}

void iw_speaker_stats(const struct iw_speaker *speaker, struct iw_speaker_stats *stats)
{
    stats->blocks = iwp_load(&speaker->blocks);
    stats->output_frames = iwp_load(&speaker->frames);
    stats->underflows = iwp_load(&speaker->underflows);
    stats->latency_ns = iwp_load(&speaker->ahead_ns);
    stats->finished = (uint32_t)iwp_load(&speaker->finished);
}
