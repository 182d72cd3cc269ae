/*
 * What sound looks like to the time scaling: its period, and whether it is a pause.
 * Included by the playout's files. Thread safety: none needed, all state is the caller's.
 */
#ifndef IWP_PITCH_H
#define IWP_PITCH_H

#include <stdbool.h>
#include <stddef.h>

/* Bounds of one search, in frames; fixed by the sample rate. */
struct iwp_pitch {
    size_t shortest;   /* 2.5 ms: 400 Hz */
    size_t longest;    /* 15 ms: 67 Hz, excluded */
    size_t decimation; /* the first pass runs at about 8 kHz */
};

struct iwp_match {
    size_t lag;        /* frames; 0 when nothing could be searched */
    float correlation; /* normalized, at the full rate */
};

/* 48 kHz, 12 ms of window and 15 ms of lag: the longest signal that is searched. */
enum { IWP_PITCH_FRAMES_MAX = 1296 };

void iwp_pitch_init(struct iwp_pitch *pitch, size_t sample_rate_hz);

/*
 * The lag at which `mono` resembles itself best.
 *
 * mono     in, `window` + `longest` - 1 frames, IWP_PITCH_FRAMES_MAX at most
 * window   frames that are compared
 * longest  lags end before it; bounded by pitch->longest
 */
struct iwp_match iwp_pitch_find(const struct iwp_pitch *pitch, const float *mono, size_t window,
                                size_t longest);

/* Follows the noise floor, to tell a pause from soft speech. */
struct iwp_pause {
    float floor_rms;
    size_t block; /* 5 ms */
};

void iwp_pause_init(struct iwp_pause *pause, size_t sample_rate_hz);

/*
 * Whether the louder 5 ms of these frames are below -50 dBFS, or below four times the noise
 * floor and -40 dBFS. Adapts the floor. False for less than 5 ms.
 */
bool iwp_pause_test(struct iwp_pause *pause, const float *samples, size_t frames,
                    size_t channels);

#endif
