/* Concealment by pitch repetition. */
#include "playout/iwp_conceal.h"

#include <string.h>

enum {
    FULL_MS = 20,
    SILENT_MS = 100,
    NOISE_MS = 30, /* how long audio without a period is repeated until silence */
    CUT_MS = 5,    /* how long the last period fades out if nothing is repeated */
    WINDOW_MS = 12,
    STEP_MS = 2,
    MERGE_MS = 5,
    HISTORY_MS = 50,
    SEAM_FRAMES_LEAST = 4
};

#define VOICED 0.5f /* the least correlation of audio that has a period */

static size_t frames_of(const struct iwp_conceal *conceal, size_t ms)
{
    return conceal->sample_rate_hz * ms / 1000;
}

void iwp_conceal_init(struct iwp_conceal *conceal, size_t sample_rate_hz, size_t channels,
                      bool repeat)
{
    memset(conceal, 0, sizeof *conceal);
    conceal->sample_rate_hz = sample_rate_hz;
    conceal->channels = channels;
    conceal->full_frames = repeat ? frames_of(conceal, FULL_MS) : 0;
    conceal->silent_frames = frames_of(conceal, repeat ? SILENT_MS : CUT_MS);
    conceal->history_frames = frames_of(conceal, HISTORY_MS);
    conceal->history_end = conceal->history_frames;
    iwp_pitch_init(&conceal->pitch, sample_rate_hz);
}

const float *iwp_conceal_tail(const struct iwp_conceal *conceal, size_t frames)
{
    return conceal->history + (conceal->history_end - frames) * conceal->channels;
}

void iwp_conceal_remember(struct iwp_conceal *conceal, const float *samples, size_t frames)
{
    size_t frame_bytes = conceal->channels * sizeof *samples;
    size_t keep = conceal->history_frames;

    if (frames > keep) {
        samples += (frames - keep) * conceal->channels;
        frames = keep;
    }
    /* The buffer has room for two histories, so this move happens at most once in 50 ms. */
    if (conceal->history_end + frames > 2 * keep) {
        memmove(conceal->history, iwp_conceal_tail(conceal, keep), keep * frame_bytes);
        conceal->history_end = keep;
    }
    memcpy(conceal->history + conceal->history_end * conceal->channels, samples,
           frames * frame_bytes);
    conceal->history_end += frames;
}

void iwp_conceal_stop(struct iwp_conceal *conceal)
{
    conceal->voice.state = IWP_CONCEAL_OFF;
}

/* Mix the newest frames to one channel, in reverse order: the newest frame is first. */
static void reverse(const struct iwp_conceal *conceal, float *mono, size_t frames)
{
    const float *tail = iwp_conceal_tail(conceal, frames);

    for (size_t i = 0; i < frames; i++) {
        const float *frame = tail + (frames - 1 - i) * conceal->channels;

        mono[i] = conceal->channels == 2 ? 0.5f * (frame[0] + frame[1]) : frame[0];
    }
}

struct iwp_match iwp_conceal_period(const struct iwp_conceal *conceal, size_t longest,
                                    size_t window)
{
    float mono[IWP_PITCH_FRAMES_MAX];
    size_t bound = longest < conceal->pitch.longest ? longest : conceal->pitch.longest;

    if (bound <= conceal->pitch.shortest)
        return (struct iwp_match){0, 0};
    reverse(conceal, mono, window + bound - 1);
    return iwp_pitch_find(&conceal->pitch, mono, window, bound);
}

static void begin(struct iwp_conceal *conceal)
{
    struct iwp_match match =
        iwp_conceal_period(conceal, conceal->pitch.longest, frames_of(conceal, WINDOW_MS));
    size_t channels = conceal->channels;
    size_t period = match.lag;
    size_t seam = period / 4 > SEAM_FRAMES_LEAST ? period / 4 : SEAM_FRAMES_LEAST;
    const float *last = iwp_conceal_tail(conceal, period);
    const float *before = iwp_conceal_tail(conceal, 2 * period);

    memcpy(conceal->period, last, period * channels * sizeof *last);
    for (size_t i = period - seam; i < period; i++) {
        float in = ((float)(i - (period - seam)) + 0.5f) / (float)seam;

        for (size_t c = 0; c < channels; c++) {
            size_t k = i * channels + c;

            conceal->period[k] = (1 - in) * last[k] + in * before[k];
        }
    }
    for (size_t c = 0; c < channels; c++) {
        float newest = last[(period - 1) * channels + c];
        float older = last[(period - 2) * channels + c];

        conceal->step[c] = newest + 0.5f * (newest - older) - conceal->period[c];
    }
    conceal->period_frames = period;
    conceal->correlation = match.correlation;
    conceal->voice = (struct iwp_voice){IWP_CONCEAL_RUNNING, 0, 0};
}

/* Return 1 up to `full`, 0 from `silent` on, and a linear slope between. Unit: frames. */
static float slope(size_t at, size_t full, size_t silent)
{
    if (at <= full)
        return 1;
    return at >= silent ? 0 : (float)(silent - at) / (float)(silent - full);
}

/* Write the next frames of the concealment. */
static void fill(struct iwp_conceal *conceal, float *dst, size_t frames)
{
    size_t channels = conceal->channels;
    size_t step = frames_of(conceal, STEP_MS);
    size_t noise = frames_of(conceal, NOISE_MS);

    for (size_t i = 0; i < frames; i++) {
        size_t at = conceal->voice.made_frames + i;
        const float *frame = conceal->period + at % conceal->period_frames * channels;
        float gain = slope(at, conceal->full_frames, conceal->silent_frames);
        float left = slope(at, 0, step);

        if (conceal->correlation < VOICED)
            gain *= slope(at, 0, noise);
        for (size_t c = 0; c < channels; c++)
            dst[i * channels + c] = gain * (frame[c] + left * conceal->step[c]);
    }
    conceal->voice.made_frames += frames;
}

void iwp_conceal_make(struct iwp_conceal *conceal, float *dst, size_t frames)
{
    if (conceal->voice.state != IWP_CONCEAL_RUNNING)
        begin(conceal);
    fill(conceal, dst, frames);
}

void iwp_conceal_merge(struct iwp_conceal *conceal, float *samples, size_t frames)
{
    size_t length = frames_of(conceal, MERGE_MS);
    size_t channels = conceal->channels;
    size_t count;

    if (conceal->voice.state == IWP_CONCEAL_OFF)
        return;
    conceal->voice.state = IWP_CONCEAL_MERGING;
    count = length - conceal->voice.merged_frames;
    count = count < frames ? count : frames;
    for (size_t i = 0; i < count; i++) {
        float in = ((float)(conceal->voice.merged_frames + i) + 0.5f) / (float)length;
        float old[IWP_CHANNELS_MAX];

        fill(conceal, old, 1);
        for (size_t c = 0; c < channels; c++) {
            float *sample = samples + i * channels + c;

            *sample = in * *sample + (1 - in) * old[c];
        }
    }
    conceal->voice.merged_frames += count;
    if (conceal->voice.merged_frames == length)
        conceal->voice.state = IWP_CONCEAL_OFF;
}
