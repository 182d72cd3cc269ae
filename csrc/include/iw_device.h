/*
 * What sound devices call. Included by device/, and read by build_ffi.py as iw_api.h is, whose
 * rules hold here too.
 *
 * The callbacks have the types of PortAudio 19: PaStreamCallback, with 16-bit samples, and
 * PaStreamFinishedCallback. They do not wait, allocate, take a lock or call Python, so a busy
 * interpreter cannot make sound stutter.
 */
#ifndef IW_DEVICE_H
#define IW_DEVICE_H

#include "include/iw_mixer.h"

/* cffi: begin */

/* As PaStreamCallbackTimeInfo: seconds of the stream's own clock. */
struct iw_stream_time {
    double input_time;   /* the first sample of the input was heard by the device */
    double current_time; /* the callback was called */
    double output_time;  /* the first sample of the output will be played by the device */
};

/* How loud a stretch of sound is. The levels of two stretches add up. */
struct iw_sound_level {
    uint64_t samples;
    uint64_t energy; /* the sum of their squares */
    uint32_t peak;   /* the largest magnitude, 0 to 32768 */
};

/* What a microphone knows of a speaker beside it: until when it sounds. */
struct iw_gate;

enum iw_status iw_gate_create(struct iw_gate **gate);

/* Free it. NULL is allowed. The speaker and the microphone must be gone. */
void iw_gate_destroy(struct iw_gate *gate);

/*
 * A microphone's ring: the callback is its one writer; read and mute are its one reader's.
 * The statistics are anybody's.
 */
struct iw_microphone;

struct iw_microphone_stats {
    uint64_t captured_samples; /* put into the ring */
    uint64_t waiting_samples;  /* of them, not yet read */
    uint64_t dropped_samples;  /* heard while the ring was full */
    uint64_t overflows;        /* times that the device lost sound before us */
    uint32_t finished;         /* 1 once the device has called iw_microphone_finished */
};

/*
 * A new ring of at least so many samples, 1 to 2^26; `channels` of the device, 1 to 32, are
 * mixed to one in equal parts.
 *
 * gate         NULL, or the speaker's: while that sounds, and for hangover_ns after it, what is
 *              heard is silence; must live longer
 */
enum iw_status iw_microphone_create(struct iw_microphone **microphone, size_t capacity_samples,
                                    uint32_t channels, const struct iw_gate *gate,
                                    uint64_t hangover_ns);

/* Free it. NULL is allowed. The device must have stopped. */
void iw_microphone_destroy(struct iw_microphone *microphone);

/* Take a block of the device. `user` is the struct iw_microphone. Returns paContinue. */
int iw_microphone_callback(const void *input, void *output, unsigned long frames,
                           const struct iw_stream_time *time, unsigned long flags, void *user);

/* The device gives no more blocks. `user` is the struct iw_microphone. */
void iw_microphone_finished(void *user);

/* Move up to `samples` of what waits to `out`; returns how many. */
size_t iw_microphone_read(struct iw_microphone *microphone, uint8_t *out, size_t samples);

/* Not zero: blocks are silence from the next one on; zero: sound again. */
void iw_microphone_mute(struct iw_microphone *microphone, int muted);

/*
 * How loud what the device brought since `from_ns` is, by blocks of the device; what is read of
 * it or dropped makes no difference. Anybody.
 */
void iw_microphone_level(const struct iw_microphone *microphone, uint64_t from_ns,
                         struct iw_sound_level *level);

/* Figures of this moment. */
void iw_microphone_stats(const struct iw_microphone *microphone,
                         struct iw_microphone_stats *stats);

/*
 * A speaker plays a mixer of one channel and 16-bit output. While its device runs, the device's
 * thread is the mixer's consumer. All but play and the callbacks are anybody's.
 */
struct iw_speaker;

struct iw_speaker_config {
    uint32_t sample_rate_hz; /* of the mixer and the device; 8000 to 48000 */
    uint32_t channels;       /* of the device, 1 to 32; all of them play the same */
    uint64_t latency_ns;     /* from the callback to the ear, for hosts that do not tell it */
    uint64_t warm_up_frames; /* silence at first, since devices swallow their first few */
};

struct iw_speaker_stats {
    uint64_t blocks;        /* calls of the callback */
    uint64_t output_frames; /* all that was handed to the device, silence too */
    uint64_t underflows;    /* times that the device had nothing to play */
    uint64_t latency_ns;    /* from the last callback to the ear */
    uint32_t finished;      /* 1 once the device has called iw_speaker_finished */
};

/*
 * A new speaker. The mixer and the gate must live longer.
 * IW_BAD_ARGUMENT: a field is out of its range.
 */
enum iw_status iw_speaker_create(struct iw_speaker **speaker, struct iw_mixer *mixer,
                                 struct iw_gate *gate, const struct iw_speaker_config *config);

/* Free it. NULL is allowed. The device must have stopped. */
void iw_speaker_destroy(struct iw_speaker *speaker);

/*
 * Give a device its next block.
 *
 * out         `frames` 16-bit samples of each channel
 * latency_ns  from now until the first of them is heard
 * now_ns      of iw_playout_clock_ns
 */
void iw_speaker_play(struct iw_speaker *speaker, uint8_t *out, size_t frames,
                     uint64_t latency_ns, uint64_t now_ns);

/* The same as a PaStreamCallback. `user` is the struct iw_speaker. Returns paContinue. */
int iw_speaker_callback(const void *input, void *output, unsigned long frames,
                        const struct iw_stream_time *time, unsigned long flags, void *user);

/* The device takes no more blocks. `user` is the struct iw_speaker. */
void iw_speaker_finished(void *user);

/*
 * How loud what is heard from `from_ns` to `until_ns` is, by blocks of the device: all of each
 * block that is heard in part. Up to 512 blocks back.
 */
void iw_speaker_level(const struct iw_speaker *speaker, uint64_t from_ns, uint64_t until_ns,
                      struct iw_sound_level *level);

/* Figures of this moment. */
void iw_speaker_stats(const struct iw_speaker *speaker, struct iw_speaker_stats *stats);

/* cffi: end */

#endif
