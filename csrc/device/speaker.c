/*
 * A speaker: the device's thread pulls from a playout and notes when each part will be heard.
 *
 * `history` and the words are written by the device's thread alone. A reader that is overtaken
 * while it looks through the history sees that by `noted`, and looks again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/iwp_atomic.h"
#include "device/iwp_gate.h"
#include "device/iwp_stream.h"

#define NS_PER_S 1e9

enum {
    HISTORY = 1024,          /* stretches of output that are remembered; a power of two */
    LOOK_BACK = HISTORY / 2, /* seconds, where the device's latency is a fraction of one */
    RATE_MAX_HZ = 192000
};

/* A stretch of output, and the source frames that are heard in it. */
struct stretch {
    struct iwp_word begin_ns;
    struct iwp_word frames;
    struct iwp_word source;
    struct iwp_word source_frames;
};

struct iw_speaker {
    struct iw_playout *playout;
    struct iw_gate *gate;
    double ns_per_frame;
    size_t channels;
    uint64_t latency_ns; /* where the stream clock gives none */
    uint64_t warm_up_frames;
    uint64_t source;       /* frames handed out so far */
    struct iwp_word noted; /* stretches */
    struct iwp_word taken;
    struct iwp_word blocks;
    struct iwp_word frames;
    struct iwp_word underflows;
    struct iwp_word ahead_ns; /* how long before it is heard the last block was taken */
    struct iwp_word finished;
    struct stretch history[HISTORY];
};

enum iw_status iw_speaker_create(struct iw_speaker **made, struct iw_playout *playout,
                                 struct iw_gate *gate, const struct iw_speaker_config *config)
{
    struct iw_speaker *speaker;

    if (config->sample_rate_hz == 0 || config->sample_rate_hz > RATE_MAX_HZ ||
        config->channels == 0 || config->channels > IWP_STREAM_CHANNELS_MAX)
        return IW_BAD_ARGUMENT;
    speaker = calloc(1, sizeof *speaker);
    if (speaker == NULL)
        return IW_NO_MEMORY;
    speaker->playout = playout;
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

static void note(struct iw_speaker *speaker, uint64_t begin_ns, uint64_t frames,
                 uint64_t source_frames)
{
    uint64_t noted = iwp_load(&speaker->noted);
    struct stretch *stretch = &speaker->history[noted % HISTORY];

    iwp_store(&stretch->begin_ns, begin_ns);
    iwp_store(&stretch->frames, frames);
    iwp_store(&stretch->source, speaker->source);
    iwp_store(&stretch->source_frames, source_frames);
    speaker->source += source_frames;
    iwp_store(&speaker->noted, noted + 1);
    if (source_frames > 0)
        iwp_store(&speaker->gate->until_ns, begin_ns + ns_of(speaker, frames));
}

/* Take from the playout, and note which of it is heard when. */
static void take(struct iw_speaker *speaker, uint8_t *out, size_t frames, uint64_t heard_ns,
                 uint64_t now_ns)
{
    struct iw_playout_part parts[IW_PLAYOUT_PARTS];
    uint64_t before = 0;
    size_t count;

    iw_playout_pull(speaker->playout, out, frames, now_ns);
    count = iw_playout_parts(speaker->playout, parts, IW_PLAYOUT_PARTS);
    for (size_t i = 0; i < count; i++) {
        note(speaker, heard_ns + ns_of(speaker, before), parts[i].output_frames,
             parts[i].source_frames);
        before += parts[i].output_frames;
    }
    iwp_store(&speaker->taken, speaker->source);
}

/* One channel to all, in place, from the last frame to the first. */
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
    /* A host without such a clock says 0 for both times. */
    if (ahead_s >= 0 && ahead_s <= IWP_STREAM_LATENCY_MAX_S && time->output_time > 0)
        latency_ns = (uint64_t)(ahead_s * NS_PER_S);
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

/* Source frames heard at `now_ns`, as the newest `noted` stretches have it. */
static uint64_t look(const struct iw_speaker *speaker, uint64_t noted, uint64_t now_ns)
{
    uint64_t oldest = noted > LOOK_BACK ? noted - LOOK_BACK : 0;
    uint64_t source = 0;

    for (uint64_t at = noted; at > oldest; at--) {
        const struct stretch *stretch = &speaker->history[(at - 1) % HISTORY];
        uint64_t begin_ns = iwp_load(&stretch->begin_ns);
        uint64_t length_ns = ns_of(speaker, iwp_load(&stretch->frames));
        uint64_t source_frames = iwp_load(&stretch->source_frames);

        source = iwp_load(&stretch->source);
        if (now_ns < begin_ns)
            continue;
        if (now_ns - begin_ns >= length_ns)
            return source + source_frames;
        return source + (uint64_t)((double)(now_ns - begin_ns) / (double)length_ns *
                                   (double)source_frames);
    }
    return source;
}

uint64_t iw_speaker_heard(const struct iw_speaker *speaker, uint64_t now_ns)
{
    uint64_t noted;
    uint64_t source;

    do {
        noted = iwp_load(&speaker->noted);
        source = look(speaker, noted, now_ns);
    } while (iwp_load(&speaker->noted) - noted >= HISTORY - LOOK_BACK);
    return source;
}

void iw_speaker_stats(const struct iw_speaker *speaker, struct iw_speaker_stats *stats)
{
    stats->taken_frames = iwp_load(&speaker->taken);
    stats->blocks = iwp_load(&speaker->blocks);
    stats->output_frames = iwp_load(&speaker->frames);
    stats->underflows = iwp_load(&speaker->underflows);
    stats->latency_ns = iwp_load(&speaker->ahead_ns);
    stats->finished = (uint32_t)iwp_load(&speaker->finished);
}
