/*
 * Functions that sound devices call. Included by device/, and read by build_ffi.py. The rules
 * of iw_api.h hold here too.
 *
 * The callbacks have the types of PortAudio 19: PaStreamCallback, with 16-bit samples, and
 * PaStreamFinishedCallback. The callbacks do not wait, allocate, take a lock or call Python, so
 * the audio has no gaps when the interpreter is busy.
 */
#ifndef IW_DEVICE_H
#define IW_DEVICE_H

#include "include/iw_mixer.h"

/* cffi: begin */

/*
 * Has the fields of PaStreamCallbackTimeInfo. The times are in seconds of the stream's clock.
 */
struct iw_stream_time {
    double input_time;   /* when the device captured the first sample of the input */
    double current_time; /* when the callback was called */
    double output_time;  /* when the device will play the first sample of the output */
};

/*
 * The level of a piece of audio. The level of two pieces together has the sum of the samples,
 * the sum of the energies, and the larger peak.
 */
struct iw_sound_level {
    uint64_t samples;
    uint64_t energy; /* the sum of the squares of the samples */
    uint32_t peak;   /* the largest magnitude, 0 to 32768 */
};

/* The time until which a speaker plays audio. A microphone near the speaker uses the time. */
struct iw_gate;

enum iw_status iw_gate_create(struct iw_gate **gate);

/* Free a gate. NULL is allowed. Destroy the speaker and the microphone first. */
void iw_gate_destroy(struct iw_gate *gate);

/*
 * The time of a block of a device. The time is a time of iw_playout_clock_ns.
 */
struct iw_block {
    uint64_t position; /* the count of samples before the block */
    uint64_t time_ns;  /* when the first sample of the block was captured or is heard */
    uint64_t breaks;   /* how many times samples were missing before a block, so far */
    uint64_t devices;  /* how many devices have delivered or played blocks, so far */
};

/*
 * The last samples that speakers have played, one speaker after another, and the times of the
 * blocks. An echo canceller reads a tap. Any thread may call the functions.
 */
struct iw_tap;

/* Create a tap that holds the last `held_samples` samples, 1 to 2^25. */
enum iw_status iw_tap_create(struct iw_tap **tap, size_t held_samples);

/* Free a tap. NULL is allowed. Destroy the speakers first. */
void iw_tap_destroy(struct iw_tap *tap);

/* Return the count of samples so far. */
uint64_t iw_tap_end(const struct iw_tap *tap);

/*
 * Copy up to `samples` samples from `*position` on to `out`. If the samples from `*position` on
 * are no longer held, `*position` becomes the position of the oldest sample that is held.
 * Returns the count of copied samples.
 */
size_t iw_tap_read(const struct iw_tap *tap, uint64_t *position, uint8_t *out, size_t samples);

/*
 * Copy the times of up to `most` blocks from block `*next` on. Blocks that are no longer held
 * are skipped. `*next` becomes the number of the block after the last copied block. Returns the
 * count of copied blocks.
 */
size_t iw_tap_blocks(const struct iw_tap *tap, uint64_t *next, struct iw_block *out,
                     size_t most);

/*
 * A microphone with its ring buffer. Only the callback writes to the ring. One thread at a time
 * may read and mute. Any thread may get the level and the statistics.
 */
struct iw_microphone;

struct iw_microphone_stats {
    uint64_t captured_samples; /* samples put into the ring */
    uint64_t waiting_samples;  /* samples in the ring that were not read yet */
    uint64_t dropped_samples;  /* samples lost because the ring was full */
    uint64_t overflows;        /* how many times the device lost audio before the callback */
    uint32_t finished;         /* 1 once the device has called iw_microphone_finished */
};

/*
 * Create a microphone.
 *
 * capacity_samples  the minimum size of the ring, 1 to 2^26
 * channels          of the device, 1 to 32; the channels are mixed to one channel in equal
 *                   parts
 * gate              NULL, or the gate of a speaker. While the speaker plays audio, and for
 *                   hangover_ns after this audio, the microphone captures silence. The gate
 *                   must live longer than the microphone
 */
enum iw_status iw_microphone_create(struct iw_microphone **microphone, size_t capacity_samples,
                                    uint32_t channels, const struct iw_gate *gate,
                                    uint64_t hangover_ns);

/* Free a microphone. NULL is allowed. Stop the device first. */
void iw_microphone_destroy(struct iw_microphone *microphone);

/* Put a block of the device into the ring. `user` is the microphone. Returns paContinue. */
int iw_microphone_callback(const void *input, void *output, unsigned long frames,
                           const struct iw_stream_time *time, unsigned long flags, void *user);

/* Record that the device has stopped, so no more blocks follow. `user` is the microphone. */
void iw_microphone_finished(void *user);

/* Move up to `samples` samples from the ring to `out`. Returns the count. */
size_t iw_microphone_read(struct iw_microphone *microphone, uint8_t *out, size_t samples);

/* If `muted` is not zero, capture silence from the next block on. Otherwise, capture audio. */
void iw_microphone_mute(struct iw_microphone *microphone, int muted);

/*
 * Measure the audio that the device has delivered since `from_ns`. Samples that were read or
 * dropped are included. Only whole blocks, and at most the last 512 blocks, are measured. Any
 * thread may call this function.
 */
void iw_microphone_level(const struct iw_microphone *microphone, uint64_t from_ns,
                         struct iw_sound_level *level);

/*
 * Copy the times of blocks; see iw_tap_blocks. Dropped samples have no position. Any thread may
 * call this function.
 */
size_t iw_microphone_blocks(const struct iw_microphone *microphone, uint64_t *next,
                            struct iw_block *out, size_t most);

/*
 * Put a block of a device into the ring, as the callback does.
 *
 * input     `frames` frames of 16-bit samples, or NULL for silence
 * flags     the flags of PaStreamCallback
 * time_ns   when the first sample was captured
 * now_ns    the time now
 */
void iw_microphone_record(struct iw_microphone *microphone, const uint8_t *input, size_t frames,
                          unsigned long flags, uint64_t time_ns, uint64_t now_ns);

/* Read the statistics. Any thread may call this function. */
void iw_microphone_stats(const struct iw_microphone *microphone,
                         struct iw_microphone_stats *stats);

/*
 * A speaker that plays a mixer of one channel and 16-bit output. While the device runs, the
 * thread of the device is the consumer of the mixer. Only this thread may call iw_speaker_play
 * and the callbacks. Any thread may call the other functions.
 */
struct iw_speaker;

struct iw_speaker_config {
    uint32_t sample_rate_hz; /* of the mixer and the device; 8000 to 48000 */
    uint32_t channels;       /* of the device, 1 to 32; all channels play the same audio */
    uint64_t latency_ns;     /* used if the host reports no latency */
    uint64_t warm_up_frames; /* silence at the start, since devices drop the first frames */
};

struct iw_speaker_stats {
    uint64_t blocks;        /* calls of the callback */
    uint64_t output_frames; /* frames passed to the device, including silence */
    uint64_t underflows;    /* how many times the device had nothing to play */
    uint64_t latency_ns;    /* from the last callback until its audio is heard */
    uint32_t finished;      /* 1 once the device has called iw_speaker_finished */
};

/*
 * Create a speaker. The mixer and the gate must live longer than the speaker.
 * IW_BAD_ARGUMENT: a field is out of its range.
 */
enum iw_status iw_speaker_create(struct iw_speaker **speaker, struct iw_mixer *mixer,
                                 struct iw_gate *gate, const struct iw_speaker_config *config);

/* Free a speaker. NULL is allowed. Stop the device first. */
void iw_speaker_destroy(struct iw_speaker *speaker);

/*
 * Fill the next block of a device.
 *
 * out         receives `frames` frames: one 16-bit sample for each channel of the device
 * latency_ns  the time from now until the first frame is heard
 * now_ns      the time now, by iw_playout_clock_ns
 */
void iw_speaker_play(struct iw_speaker *speaker, uint8_t *out, size_t frames,
                     uint64_t latency_ns, uint64_t now_ns);

/*
 * Also copy the audio of each block to a tap, from the next block on. The tap must live longer
 * than the speaker. Only one speaker at a time may play to a tap. Any thread may call this
 * function, but only once for a speaker.
 */
void iw_speaker_tap(struct iw_speaker *speaker, struct iw_tap *tap);

/* A PaStreamCallback that calls iw_speaker_play. `user` is the speaker. Returns paContinue. */
int iw_speaker_callback(const void *input, void *output, unsigned long frames,
                        const struct iw_stream_time *time, unsigned long flags, void *user);

/* Record that the device has stopped and asks for no more blocks. `user` is the speaker. */
void iw_speaker_finished(void *user);

/*
 * Measure the audio that is heard from `from_ns` to `until_ns`. Blocks of the device that are
 * partly in this time are measured as a whole. At most the last 512 blocks are measured.
 */
void iw_speaker_level(const struct iw_speaker *speaker, uint64_t from_ns, uint64_t until_ns,
                      struct iw_sound_level *level);

/* Read the statistics. */
void iw_speaker_stats(const struct iw_speaker *speaker, struct iw_speaker_stats *stats);

/* cffi: end */

#endif
