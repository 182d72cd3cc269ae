/*
 * Analysis for time scaling: the period of audio, and whether it is a pause. Included by the
 * playout's files. Thread-safe: all state is in the arguments.
 */
#ifndef IWP_PITCH_H
#define IWP_PITCH_H

#include <stdbool.h>
#include <stddef.h>

/* The bounds of a search, in frames. They depend on the sample rate only. */
struct iwp_pitch {
    size_t shortest;   /* 2.5 ms: 400 Hz */
    size_t longest;    /* 15 ms: 67 Hz, excluded */
    size_t decimation; /* the first pass runs at about 8 kHz */
};

struct iwp_match {
    size_t lag;        /* frames; 0 if there was too little audio */
    float correlation; /* normalized, at the full rate */
};

/* The longest signal of a search: 12 ms of window and 15 ms of lag at 48 kHz. */
enum { IWP_PITCH_FRAMES_MAX = 1296 };

void iwp_pitch_init(struct iwp_pitch *pitch, size_t sample_rate_hz);

/*
 * Find the lag at which `mono` is most similar to itself.
 *
 * mono     in, `window` + `longest` - 1 frames, IWP_PITCH_FRAMES_MAX at most
 * window   frames to compare
 * longest  the lag is less than this; at most pitch->longest
 */
struct iwp_match iwp_pitch_find(const struct iwp_pitch *pitch, const float *mono, size_t window,
                                size_t longest);

/* The noise floor, which distinguishes a pause from soft speech. */
struct iwp_pause {
    float floor_rms;
    size_t block; /* 5 ms */
};

void iwp_pause_init(struct iwp_pause *pause, size_t sample_rate_hz);

/*
 * Whether the loudest 5 ms of these frames are below -50 dBFS, or below both -40 dBFS and four
 * times the noise floor. Updates the noise floor. Returns false for less than 5 ms.
 */
bool iwp_pause_test(struct iwp_pause *pause, const float *samples, size_t frames,
                    size_t channels);

#endif
