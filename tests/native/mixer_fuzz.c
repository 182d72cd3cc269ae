/*
 * This program makes random calls on a speaker with a mixer of random playouts, under
 * sanitizers, and checks invariants after each call.
 *
 *   cc -O1 -g -std=c11 -fsanitize=address,undefined -fno-sanitize-recover=all -Icsrc
 *      tests/native/mixer_fuzz.c $(find csrc -name "*.c") -lm -o mixer_fuzz
 *   ./mixer_fuzz [first seed] [seeds] [calls]
 *
 * The track of a playout counts the frames that were pulled. The test counts the frames that
 * were pushed and that no clear has dropped. The first count must not exceed the second count.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzzing.h"
#include "include/iw_device.h"

enum { PULL_MOST = 12000, PUSH_MOST = 6000, DEVICE_CHANNELS = 3 };

struct voice {
    struct iw_playout *playout; /* NULL if the voice has no playout */
    struct iw_track *track;     /* or NULL */
    uint64_t item;
    uint64_t kept;  /* pushed frames that no clear has dropped */
    uint64_t heard; /* the last count of heard frames */
};

struct run {
    struct source source;
    struct iw_mixer *mixer;
    struct iw_mixer_config config;
    struct iw_gate *gate;
    struct iw_speaker *speaker; /* or NULL */
    struct voice voices[IW_MIXER_VOICES];
    uint64_t now_ns;
    uint64_t played; /* the count of frames of the speaker */
};

static uint64_t some(struct run *run, uint64_t bound)
{
    return below(&run->source, bound);
}

static struct voice *some_voice(struct run *run)
{
    return &run->voices[some(run, IW_MIXER_VOICES)];
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void put_in(struct run *run, struct voice *voice)
{
    struct iw_playout_config config = {
        .sample_rate_hz = run->config.sample_rate_hz,
        .channels = run->config.channels,
        .output_format = IW_PLAYOUT_F32,
        .mode = (uint32_t)some(run, 2),
        .max_delay_ms = 1000,
        .capacity_ms = 10 + (uint32_t)some(run, 2000),
        .fade_ms = 5,
        .fixed_speed = some(run, 2) == 0,
        .gap_cost = 9e5,
    };

    doing = "set";
    memset(voice, 0, sizeof *voice);
    voice->item = 1;
    require(iw_playout_create(&voice->playout, &config) == IW_OK, "a valid config was refused");
    if (some(run, 8) > 0)
        require(iw_track_create(&voice->track, run->config.sample_rate_hz) == IW_OK,
                "the track was not created");
    require(iw_mixer_set(run->mixer, (size_t)(voice - run->voices), voice->playout,
                         voice->track) == IW_OK,
            "a valid place was refused");
}

static void take_out(struct run *run, struct voice *voice)
{
    doing = "remove";
    require(iw_mixer_set(run->mixer, (size_t)(voice - run->voices), NULL, NULL) == IW_OK,
            "a valid place was refused");
    require(iw_mixer_turn(run->mixer) % 2 == 0, "the turn is odd, but no thread pulls");
    iw_playout_destroy(voice->playout);
    iw_track_destroy(voice->track);
    memset(voice, 0, sizeof *voice);
}

static void adjust(struct run *run)
{
    size_t place = (size_t)some(run, IW_MIXER_VOICES + 1);
    double gain = (double)some(run, 500) / 100.0;
    double ducked = (double)some(run, 120) / 100.0;
    bool known = place < IW_MIXER_VOICES && gain <= 4 && ducked <= 1;
    enum iw_status status;

    doing = "adjust";
    status = iw_mixer_adjust(run->mixer, place, some(run, 50) == 0 ? (double)NAN : gain, ducked,
                             (uint32_t)some(run, 4));
    require(status == IW_OK || status == IW_BAD_ARGUMENT, "the status is unknown");
    require(known || status == IW_BAD_ARGUMENT, "a wrong argument was accepted");
}

static void push(struct run *run, struct voice *voice)
{
    size_t frames = size_below(&run->source, PUSH_MOST);
    size_t count = frames * run->config.channels;
    int16_t *samples = exactly(count * sizeof *samples);
    uint32_t flags = some(run, 8) == 0 ? IW_PLAYOUT_END_OF_ITEM : 0;
    uint64_t level = some(run, 65536);

    doing = "push";
    for (size_t i = 0; i < count; i++)
        samples[i] = (int16_t)((int)((i * 7919) % (level + 1)) - (int)(level / 2));
    if (iw_playout_push(voice->playout, (const uint8_t *)samples, frames, voice->item, flags,
                        run->now_ns) == IW_OK) {
        voice->kept += frames;
        voice->item += flags;
    }
    free(samples);
}

static void clear(struct run *run, struct voice *voice)
{
    struct iw_playout_cleared cleared[IW_PLAYOUT_ITEMS];
    ptrdiff_t count;

    (void)run;
    doing = "clear";
    count = iw_playout_clear(voice->playout, cleared, IW_PLAYOUT_ITEMS, 0);
    require(count >= 0, "the clear failed");
    for (ptrdiff_t i = 0; i < count; i++)
        voice->kept -= cleared[i].received_frames - cleared[i].heard_frames;
    voice->item++;
}

static void check_voice(struct run *run, struct voice *voice)
{
    uint64_t taken;
    uint64_t heard;

    if (voice->track == NULL)
        return;
    taken = iw_track_taken(voice->track);
    heard = iw_track_heard(voice->track, run->now_ns);
    require(taken <= voice->kept, "more frames were pulled than pushed");
    require(heard <= taken && heard >= voice->heard, "the count of heard frames is wrong");
    require(iw_track_heard(voice->track, UINT64_MAX) == taken, "some frames are never heard");
    require(iw_track_position(voice->track, run->now_ns) <= iw_playout_pulled(voice->playout),
            "the heard position was not pulled");
    voice->heard = heard;
}

static void check_output(const struct run *run, const uint8_t *out, size_t frames)
{
    if (run->config.output_format != IW_PLAYOUT_F32)
        return;
    for (size_t i = 0; i < frames * run->config.channels; i++) {
        float sample;

        memcpy(&sample, out + i * sizeof sample, sizeof sample);
        require(sample >= -1 && sample <= 1, "the output is beyond full scale");
    }
}

static void check_level(struct run *run)
{
    struct iw_sound_level level;

    iw_speaker_level(run->speaker, run->now_ns > 50000000 ? run->now_ns - 50000000 : 0,
                     run->now_ns, &level);
    require(level.peak <= 32768 && level.samples <= run->played, "the level is out of range");
    require(level.energy <= level.samples * ((uint64_t)level.peak * level.peak),
            "the energy is too high for the peak");
}

static void pull(struct run *run)
{
    size_t frames = size_below(&run->source, PULL_MOST);
    size_t sample_bytes = run->config.output_format == IW_PLAYOUT_F32 ? 4 : 2;
    size_t channels = run->speaker != NULL ? DEVICE_CHANNELS : run->config.channels;
    uint8_t *out = exactly(frames * sample_bytes * channels);

    doing = "pull";
    if (run->speaker != NULL) {
        iw_speaker_play(run->speaker, out, frames, 0, run->now_ns);
        run->played += frames;
        check_level(run);
    } else {
        require(iw_mixer_pull(run->mixer, out, frames, run->now_ns) <= frames,
                "more frames are audio than were pulled");
        check_output(run, out, frames);
    }
    free(out);
    run->now_ns += (uint64_t)frames * 1000000000u / run->config.sample_rate_hz + 1;
}

static void call(struct run *run)
{
    struct voice *voice = some_voice(run);

    switch (some(run, 16)) {
    case 0:
        if (voice->playout != NULL)
            take_out(run, voice);
        break;
    case 1: adjust(run); break;
    case 2:
        if (voice->playout != NULL)
            clear(run, voice);
        break;
    case 3:
        if (voice->playout != NULL)
            iw_playout_pause(voice->playout, (int)some(run, 2));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: pull(run); break;
    default:
        if (voice->playout == NULL)
            put_in(run, voice);
        else
            push(run, voice);
    }
    for (size_t i = 0; i < IW_MIXER_VOICES; i++)
        check_voice(run, &run->voices[i]);
}

/* ---- runs ------------------------------------------------------------------------------------- */

static void start(struct run *run)
{
    static const uint32_t rates_hz[] = {8000, 11025, 16000, 24000, 44100, 48000};

    run->config = (struct iw_mixer_config){
        .sample_rate_hz = rates_hz[some(run, 6)],
        .channels = 1 + (uint32_t)some(run, 2),
        .output_format = (uint32_t)some(run, 2),
        .attack_ms = 1 + (uint32_t)some(run, 100),
        .release_ms = 1 + (uint32_t)some(run, 500),
        .hold_ms = (uint32_t)some(run, 400),
    };
    run->now_ns = 1000000000 + some(run, 1u << 30);
    doing = "create";
    require(iw_mixer_create(&run->mixer, &run->config) == IW_OK, "a valid config was refused");
    require(iw_gate_create(&run->gate) == IW_OK, "the gate was not created");
    if (run->config.channels == 1 && run->config.output_format == IW_PLAYOUT_S16) {
        struct iw_speaker_config config = {
            .sample_rate_hz = run->config.sample_rate_hz,
            .channels = DEVICE_CHANNELS,
            .warm_up_frames = some(run, 300),
        };

        require(iw_speaker_create(&run->speaker, run->mixer, run->gate, &config) == IW_OK,
                "a valid config of a speaker was refused");
    }
}

static void run_once(struct source source, uint64_t calls)
{
    struct run run = {.source = source};

    start(&run);
    for (uint64_t done = 0; goes_on(&run.source, done, calls); done++)
        call(&run);
    for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
        if (run.voices[i].playout != NULL)
            take_out(&run, &run.voices[i]);
    }
    iw_speaker_destroy(run.speaker);
    iw_gate_destroy(run.gate);
    iw_mixer_destroy(run.mixer);
}
