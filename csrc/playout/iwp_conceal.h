/*
 * Concealment by pitch repetition, and the history of output that the concealment repeats.
 * Included by the playout's files.
 *
 * The method is similar to ITU-T G.711 Appendix I. The last period is repeated. The last
 * quarter of the period is cross-faded with the audio before the period. The level is full for
 * 20 ms and falls to silence at 100 ms. Audio without a period falls to silence at 30 ms,
 * because repeated noise buzzes.
 *
 * Samples are interleaved floats. Only the consumer may use a concealment. Nothing here
 * allocates memory.
 */
#ifndef IWP_CONCEAL_H
#define IWP_CONCEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "playout/iwp_pitch.h"

enum {
    IWP_RATE_MAX_HZ = 48000,
    IWP_CHANNELS_MAX = 2,
    IWP_LAG_FRAMES_MAX = IWP_RATE_MAX_HZ * 15 / 1000,
    IWP_HISTORY_FRAMES_MAX = IWP_RATE_MAX_HZ * 50 / 1000
};

enum iwp_conceal_state {
    IWP_CONCEAL_OFF,     /* received audio is played */
    IWP_CONCEAL_RUNNING, /* a gap is concealed */
    IWP_CONCEAL_MERGING  /* received audio is back and is cross-faded with the concealment */
};

/*
 * The progress of the concealment. A preview saves this struct first and restores it
 * afterwards.
 */
struct iwp_voice {
    enum iwp_conceal_state state;
    size_t made_frames;   /* concealed frames since the gap began */
    size_t merged_frames; /* cross-faded frames since the end of the gap */
};

struct iwp_conceal {
    size_t sample_rate_hz;
    size_t channels;
    size_t full_frames;   /* the level is full up to here */
    size_t silent_frames; /* the level is zero from here on */
    struct iwp_pitch pitch;
    struct iwp_voice voice;
    size_t period_frames;
    float correlation;
    float step
        [IWP_CHANNELS_MAX]; /* the expected next sample minus the first sample of the period */
    float period[IWP_LAG_FRAMES_MAX * IWP_CHANNELS_MAX];
    size_t history_frames;
    size_t history_end; /* frames in `history`; only the newest history_frames are used */
    float history[2 * IWP_HISTORY_FRAMES_MAX * IWP_CHANNELS_MAX];
};

/*
 * Initialize. Without `repeat`, the last period fades out over 5 ms in a gap. Silence follows.
 */
void iwp_conceal_init(struct iwp_conceal *conceal, size_t sample_rate_hz, size_t channels,
                      bool repeat);

/* Return the newest `frames` frames of the history, at most history_frames. */
const float *iwp_conceal_tail(const struct iwp_conceal *conceal, size_t frames);

/* Add received audio that was played to the history. */
void iwp_conceal_remember(struct iwp_conceal *conceal, const float *samples, size_t frames);

/* Stop the concealment without a cross-fade, for example because an item has ended. */
void iwp_conceal_stop(struct iwp_conceal *conceal);

/* Conceal `frames` frames of a gap; 0 is allowed. The first call of a gap finds the period. */
void iwp_conceal_make(struct iwp_conceal *conceal, float *dst, size_t frames);

/* Cross-fade the first 5 ms of received audio after a gap with the concealment. */
void iwp_conceal_merge(struct iwp_conceal *conceal, float *samples, size_t frames);

/* Return the period at the end of the history, for time scaling. It is less than `longest`. */
struct iwp_match iwp_conceal_period(const struct iwp_conceal *conceal, size_t longest,
                                    size_t window);

#endif
