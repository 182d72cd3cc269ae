/* Time scaling: inserts or removes one period of the audio where the change is not audible. */
#include <math.h>
#include <string.h>

#include "playout/iwp_playout.h"

#define LOOK_MS 42.0   /* enough for two periods of 15 ms and a window */
#define WINDOW_MS 10.0 /* how much audio is compared */
#define PAUSE_MS 10.0  /* how much of a pause is removed or added at a time */
#define PAUSE_FADE_MS 4.0
#define PAUSE_RMS 0.004f /* a pause is extended only if the last audio is softer than this */
/* The least correlation of two periods. A lower value is enough if the delay is very wrong. */
#define ALIKE 0.88f
#define ALIKE_URGENT 0.75f

void iwp_emit(struct iw_playout *playout, size_t frames, size_t source_frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    float *samples = iwp_fifo_end(&consumer->fifo);
    struct iw_playout_part part = {
        .kind = IW_PLAYOUT_PLAYED,
        .output_frames = (uint32_t)frames,
        .source_frames = (uint32_t)source_frames,
        .position = consumer->store.position,
    };

    iwp_conceal_merge(&consumer->conceal, samples, frames);
    iwp_conceal_remember(&consumer->conceal, samples, frames);
    iwp_fifo_add(&consumer->fifo, part);
    iwp_store_seek(&consumer->store, part.position + (int64_t)source_frames);
}

/* Cross-fade `from` to `to` over `frames` frames. */
static void cross_fade(float *dst, const float *from, const float *to, size_t frames,
                       size_t channels)
{
    for (size_t i = 0; i < frames; i++) {
        float in = ((float)i + 0.5f) / (float)frames;

        for (size_t c = 0; c < channels; c++) {
            size_t k = i * channels + c;

            dst[k] = (1 - in) * from[k] + in * to[k];
        }
    }
}

/* Replace the 2 * `lag` frames in consumer->look by `lag` frames. */
static void leave_out(struct iw_playout *playout, size_t lag, size_t fade)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t channels = playout->config.channels;
    const float *look = consumer->look;
    float *dst = iwp_fifo_end(&consumer->fifo);
    size_t whole = (lag - fade) * channels;

    memcpy(dst, look, whole * sizeof *dst);
    cross_fade(dst + whole, look + whole, look + whole + lag * channels, fade, channels);
    iwp_emit(playout, lag, 2 * lag);
    consumer->tokens_frames -= (double)lag;
}

static const float *mono_of(const float *samples, float *mono, size_t frames, size_t channels)
{
    if (channels == 1)
        return samples;
    for (size_t i = 0; i < frames; i++)
        mono[i] = 0.5f * (samples[2 * i] + samples[2 * i + 1]);
    return mono;
}

static struct iwp_match period_ahead(const struct iw_playout *playout, size_t available)
{
    const struct iwp_consumer *consumer = &playout->consumer;
    const struct iwp_pitch *pitch = &consumer->conceal.pitch;
    size_t window = iwp_frames(playout, WINDOW_MS);
    size_t longest = available > window ? available - window : 0;
    float mono[IWP_PITCH_FRAMES_MAX];

    longest = longest < available / 2 ? longest : available / 2;
    longest = longest < pitch->longest ? longest : pitch->longest;
    if (longest <= pitch->shortest)
        return (struct iwp_match){0, 0};
    return iwp_pitch_find(
        pitch, mono_of(consumer->look, mono, window + longest, playout->config.channels),
        window, longest);
}

bool iwp_shrink(struct iw_playout *playout, bool urgent)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t pause = iwp_frames(playout, PAUSE_MS);
    size_t available =
        iwp_store_read(&consumer->store, consumer->look, iwp_frames(playout, LOOK_MS));
    struct iwp_match match;

    if (available >= 2 * pause &&
        iwp_pause_test(&consumer->pause, consumer->look, 2 * pause, playout->config.channels)) {
        leave_out(playout, pause, iwp_frames(playout, PAUSE_FADE_MS));
        return true;
    }
    match = period_ahead(playout, available);
    if (match.lag == 0 || match.correlation < (urgent ? ALIKE_URGENT : ALIKE))
        return false;
    leave_out(playout, match.lag, match.lag);
    return true;
}

bool iwp_shrink_pause(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t pause = iwp_frames(playout, PAUSE_MS);
    size_t available = iwp_store_read(&consumer->store, consumer->look, 2 * pause);

    if (available < 2 * pause ||
        !iwp_pause_test(&consumer->pause, consumer->look, available, playout->config.channels))
        return false;
    leave_out(playout, pause, iwp_frames(playout, PAUSE_FADE_MS));
    return true;
}

static bool was_soft(const struct iw_playout *playout, size_t frames)
{
    size_t count = frames * playout->config.channels;
    const float *tail = iwp_conceal_tail(&playout->consumer.conceal, frames);
    float sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += tail[i] * tail[i];
    return sqrtf(sum / (float)count) < PAUSE_RMS;
}

/*
 * Return how many frames may be inserted between the last output and the next audio, or 0.
 */
static size_t period_to_insert(struct iw_playout *playout, size_t available, bool urgent)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t pause = iwp_frames(playout, PAUSE_MS);
    struct iwp_match match;

    if (available >= pause &&
        iwp_pause_test(&consumer->pause, consumer->look, pause, playout->config.channels) &&
        was_soft(playout, pause))
        return pause;
    if (consumer->conceal.voice.state != IWP_CONCEAL_OFF)
        return 0;
    match = iwp_conceal_period(&consumer->conceal, available, iwp_frames(playout, WINDOW_MS));
    return match.correlation < (urgent ? ALIKE_URGENT : ALIKE) ? 0 : match.lag;
}

bool iwp_grow(struct iw_playout *playout, bool urgent)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t available =
        iwp_store_read(&consumer->store, consumer->look, consumer->conceal.pitch.longest);
    size_t lag = period_to_insert(playout, available, urgent);

    if (lag == 0)
        return false;
    /*
     * The beginning of the inserted period is like the next audio, so the period continues the
     * last output. The end of the inserted period is like the last output, so the next audio
     * continues the period.
     */
    cross_fade(iwp_fifo_end(&consumer->fifo), consumer->look,
               iwp_conceal_tail(&consumer->conceal, lag), lag, playout->config.channels);
    iwp_emit(playout, lag, 0);
    consumer->tokens_frames -= (double)lag;
    return true;
}
