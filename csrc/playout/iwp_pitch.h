/*
 * Analyzes audio for time scaling: finds its period, and whether the audio is a pause. Included
 * by the playout's files. Thread-safe, because all state is in the arguments.
 */
#ifndef IWP_PITCH_H
#define IWP_PITCH_H

#include <stdbool.h>
#include <stddef.h>

/* The bounds of a search, in frames. They depend on the sample rate only. */
struct iwp_pitch {
    size_t shortest;   /* 2.5 ms: 400 Hz */
    size_t longest;    /* 15 ms: 67 Hz; lags are less than this */
    size_t decimation; /* the first pass runs at about 8 kHz */
};

struct iwp_match {
    size_t lag;        /* frames; 0 if there was too little audio */
    float correlation; /* normalized, at the full rate */
};

/* The longest signal of a search: a window of 12 ms and a lag of 15 ms at 48 kHz. */
enum { IWP_PITCH_FRAMES_MAX = 1296 };

void iwp_pitch_init(struct iwp_pitch *pitch, size_t sample_rate_hz);

/*
 * Find the lag at which `mono` is most similar to itself.
 *
 * mono     in, `window` + `longest` - 1 frames, at most IWP_PITCH_FRAMES_MAX
 * window   frames to compare
 * longest  the lag is less than `longest`, which is at most pitch->longest
 */
struct iwp_match iwp_pitch_find(const struct iwp_pitch *pitch, const float *mono, size_t window,
                                size_t longest);

/* The noise floor. It helps to distinguish a pause from soft speech. */
struct iwp_pause {
    float floor_rms;
    size_t block; /* frames in 5 ms */
};

void iwp_pause_init(struct iwp_pause *pause, size_t sample_rate_hz);

/*
 * Return whether the frames are a pause, and update the noise floor. They are a pause if their
 * loudest 5 ms are below -50 dBFS, or are below -40 dBFS and below four times the noise floor.
 * Returns false for less than 5 ms.
 */
bool iwp_pause_test(struct iwp_pause *pause, const float *samples, size_t frames,
                    size_t channels);

#endif
