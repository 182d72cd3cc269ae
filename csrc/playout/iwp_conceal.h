/*
 * Concealment by pitch repetition, and the history of the output that it repeats.
 * Included by the playout's files.
 *
 * In the manner of ITU-T G.711 Appendix I: the last period is repeated, its end fading over a
 * quarter period into what came before its start. Full level for 20 ms, silence at 100 ms;
 * sound without a period is gone after 30 ms, since repeated noise buzzes.
 *
 * Samples are interleaved floats. Thread safety: none; the consumer owns it. No allocation.
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
    IWP_CONCEAL_OFF,     /* real sound is played */
    IWP_CONCEAL_RUNNING, /* the gap is being filled */
    IWP_CONCEAL_MERGING  /* real sound is back and fades in over the filling */
};

/* Where the running concealment stands. Copied to try something out and go back. */
struct iwp_voice {
    enum iwp_conceal_state state;
    size_t made_frames;   /* since the gap began */
    size_t merged_frames; /* since the sound is back */
};

struct iwp_conceal {
    size_t sample_rate_hz;
    size_t channels;
    size_t full_frames;   /* at full level */
    size_t silent_frames; /* nothing is left */
    struct iwp_pitch pitch;
    struct iwp_voice voice;
    size_t period_frames;
    float correlation;
    float step
        [IWP_CHANNELS_MAX]; /* from where the output would have gone to the period's start */
    float period[IWP_LAG_FRAMES_MAX * IWP_CHANNELS_MAX];
    size_t history_frames;
    size_t history_end; /* frames in `history`; the newest history_frames of them count */
    float history[2 * IWP_HISTORY_FRAMES_MAX * IWP_CHANNELS_MAX];
};

/* Not `repeat`: the last period only fades out, over 5 ms, and silence follows. */
void iwp_conceal_init(struct iwp_conceal *conceal, size_t sample_rate_hz, size_t channels,
                      bool repeat);

/* The newest `frames` of the history, at most history_frames. */
const float *iwp_conceal_tail(const struct iwp_conceal *conceal, size_t frames);

/* Real sound was played: remember it. */
void iwp_conceal_remember(struct iwp_conceal *conceal, const float *samples, size_t frames);

/* A new utterance: what is remembered does not lead into it. */
void iwp_conceal_stop(struct iwp_conceal *conceal);

/* Fill `frames` of a gap, 0 are allowed; looks for the period when the gap begins. */
void iwp_conceal_make(struct iwp_conceal *conceal, float *dst, size_t frames);

/* Real sound follows a gap: fade it in over 5 ms of the filling. No sample is dropped. */
void iwp_conceal_merge(struct iwp_conceal *conceal, float *samples, size_t frames);

/* The period of the newest history, for inserting one. `longest` bounds the lag, excluded. */
struct iwp_match iwp_conceal_period(const struct iwp_conceal *conceal, size_t longest,
                                    size_t window);

#endif
