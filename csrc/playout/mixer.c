/*
 * A mixer of several playouts for one device.
 *
 * At the start of a pull, the consumer makes `turn` odd. Then it reads the pointers of the
 * playouts and pulls. At the end, it makes `turn` even. A thread that has removed a playout
 * reads `turn` by a compare-and-swap (iw_mixer_turn). All threads see the operations on one
 * word in the same order. If the consumer has made `turn` odd before the thread reads it, the
 * thread sees an odd number and can wait until the number changes. Otherwise, the consumer sees
 * that the playout was removed.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/iwp_atomic.h"
#include "playout/iwp_conceal.h"
#include "playout/iwp_mixer.h"

#define GAIN_MAX 4.0
#define TIME_MAX_MS 10000u
#define NS_PER_S 1000000000u

/* The longest block that is mixed at a time. A longer pull is divided into several blocks. */
enum {
    BLOCK_MS = 100,
    BLOCK_SAMPLES_MAX = IWP_RATE_MAX_HZ / 1000 * BLOCK_MS * IWP_CHANNELS_MAX
};

struct voice {
    /* Written by iw_mixer_set and iw_mixer_adjust. */
    struct iwp_pointer track; /* stored before the playout */
    struct iwp_pointer playout;
    struct iwp_word gain; /* the bits of a float, like ducked_gain */
    struct iwp_word ducked_gain;
    struct iwp_word priority;
    /* Used by the consumer. */
    struct iw_playout *playing;
    struct iw_track *tracking;
    bool is_new;
    bool sounds;        /* has audio in this block, or had audio less than hold_ms before */
    uint64_t rank;      /* the priority in this pull */
    float level;        /* the gain now */
    float wanted;       /* the gain at the end of the ramp */
    float step;         /* the change of the gain per frame */
    size_t hold_frames; /* the rest of hold_ms */
};

struct iw_mixer {
    size_t sample_rate_hz;
    size_t channels;
    uint32_t output_format;
    float attack_frames;
    float release_frames;
    size_t hold_frames;
    struct iwp_word turn; /* odd while the consumer pulls */
    struct voice voices[IW_MIXER_VOICES];
    struct voice *order[IW_MIXER_VOICES]; /* voices with a playout, highest priority first */
    size_t order_count;
    float samples[BLOCK_SAMPLES_MAX];
    float sum[BLOCK_SAMPLES_MAX];
};

static bool is_time(uint32_t ms, uint32_t least)
{
    return ms >= least && ms <= TIME_MAX_MS;
}

static bool is_valid(const struct iw_mixer_config *config)
{
    return config->sample_rate_hz >= 8000 && config->sample_rate_hz <= IWP_RATE_MAX_HZ &&
           config->channels >= 1 && config->channels <= IWP_CHANNELS_MAX &&
           config->output_format <= IW_PLAYOUT_F32 && is_time(config->attack_ms, 1) &&
           is_time(config->release_ms, 1) && is_time(config->hold_ms, 0);
}

enum iw_status iw_mixer_create(struct iw_mixer **made, const struct iw_mixer_config *config)
{
    struct iw_mixer *mixer;
    float frames_per_ms = (float)config->sample_rate_hz / 1000.0f;

    if (!is_valid(config))
        return IW_BAD_ARGUMENT;
    mixer = calloc(1, sizeof *mixer);
    if (mixer == NULL)
        return IW_NO_MEMORY;
    mixer->sample_rate_hz = config->sample_rate_hz;
    mixer->channels = config->channels;
    mixer->output_format = config->output_format;
    mixer->attack_frames = (float)config->attack_ms * frames_per_ms;
    mixer->release_frames = (float)config->release_ms * frames_per_ms;
    mixer->hold_frames = (size_t)((float)config->hold_ms * frames_per_ms);
    *made = mixer;
    return IW_OK;
}

void iw_mixer_destroy(struct iw_mixer *mixer)
{
    free(mixer);
}

/* ---- control ----------------------------------------------------------------------------- */

enum iw_status iw_mixer_set(struct iw_mixer *mixer, size_t voice, struct iw_playout *playout,
                            struct iw_track *track)
{
    if (voice >= IW_MIXER_VOICES)
        return IW_BAD_ARGUMENT;
    iwp_store_pointer(&mixer->voices[voice].track, track);
    iwp_store_pointer(&mixer->voices[voice].playout, playout);
    return IW_OK;
}

static void store_gain(struct iwp_word *word, double gain)
{
    float value = (float)gain;
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    iwp_store(word, bits);
}

enum iw_status iw_mixer_adjust(struct iw_mixer *mixer, size_t voice, double gain,
                               double ducked_gain, uint32_t priority)
{
    if (voice >= IW_MIXER_VOICES || !(gain >= 0 && gain <= GAIN_MAX) ||
        !(ducked_gain >= 0 && ducked_gain <= 1))
        return IW_BAD_ARGUMENT;
    store_gain(&mixer->voices[voice].gain, gain);
    store_gain(&mixer->voices[voice].ducked_gain, ducked_gain);
    iwp_store(&mixer->voices[voice].priority, priority);
    return IW_OK;
}

/* Add `change` to the turn. Returns the previous value. */
static uint64_t change_turn(struct iw_mixer *mixer, uint64_t change)
{
    uint64_t turn = iwp_load(&mixer->turn);

    while (!iwp_swap_if(&mixer->turn, &turn, turn + change))
        ;
    return turn;
}

uint64_t iw_mixer_turn(struct iw_mixer *mixer)
{
    return change_turn(mixer, 0);
}

/* ---- the consumer ------------------------------------------------------------------------ */

static float gain_of(const struct iwp_word *word)
{
    uint32_t bits = (uint32_t)iwp_load(word);
    float gain;

    memcpy(&gain, &bits, sizeof gain);
    return gain;
}

/* Read the playouts of the voices, and sort the voices by priority. */
static void take_voices(struct iw_mixer *mixer)
{
    mixer->order_count = 0;
    for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
        struct voice *voice = &mixer->voices[i];
        struct iw_playout *playout = iwp_load_pointer(&voice->playout);
        size_t at = mixer->order_count;

        if (playout != voice->playing) {
            voice->hold_frames = 0;
            voice->is_new = true;
        }
        voice->playing = playout;
        if (playout == NULL)
            continue;
        /*
         * The track is loaded in each pull, because a new playout can have the address of an
         * old playout.
         */
        voice->tracking = iwp_load_pointer(&voice->track);
        voice->rank = iwp_load(&voice->priority);
        for (; at > 0 && mixer->order[at - 1]->rank < voice->rank; at--)
            mixer->order[at] = mixer->order[at - 1];
        mixer->order[at] = voice;
        mixer->order_count++;
    }
}

/* Start a straight ramp of the gain to `wanted`. */
static void aim(const struct iw_mixer *mixer, struct voice *voice, float wanted)
{
    if (wanted == voice->wanted)
        return;
    voice->wanted = wanted;
    voice->step = (wanted - voice->level) /
                  (wanted < voice->level ? mixer->attack_frames : mixer->release_frames);
}

static void add_frames(struct iw_mixer *mixer, float level, size_t first, size_t end)
{
    for (size_t k = first * mixer->channels; k < end * mixer->channels; k++)
        mixer->sum[k] += level * mixer->samples[k];
}

static void add_voice(struct iw_mixer *mixer, struct voice *voice, size_t frames)
{
    size_t done = 0;

    while (done < frames && voice->level != voice->wanted) {
        float next = voice->level + voice->step;

        add_frames(mixer, voice->level, done, done + 1);
        /* The ramp also ends if the step is too small to change the level. */
        if (next == voice->level || (voice->step < 0) == (next <= voice->wanted))
            next = voice->wanted;
        voice->level = next;
        done++;
    }
    add_frames(mixer, voice->level, done, frames);
}

/* Pull from a voice and add its audio to the sum. Returns how many of the frames are audio. */
static size_t play_voice(struct iw_mixer *mixer, struct voice *voice, size_t frames,
                         bool ducked, uint64_t now_ns, uint64_t heard_ns)
{
    float wanted = gain_of(&voice->gain);
    size_t sound = iw_playout_pull(voice->playing, (uint8_t *)mixer->samples, frames, now_ns);

    if (voice->tracking != NULL) {
        struct iw_playout_part parts[IW_PLAYOUT_PARTS];

        iwp_track_note(voice->tracking, parts,
                       iw_playout_parts(voice->playing, parts, IW_PLAYOUT_PARTS), heard_ns);
    }
    voice->sounds = sound > 0 || voice->hold_frames > 0;
    if (sound > 0)
        voice->hold_frames = mixer->hold_frames;
    else
        voice->hold_frames -= voice->hold_frames < frames ? voice->hold_frames : frames;
    aim(mixer, voice, ducked ? wanted * gain_of(&voice->ducked_gain) : wanted);
    /* A silent voice needs no ramp, because a jump of its gain is not audible. */
    if (sound == 0 || voice->is_new)
        voice->level = voice->wanted;
    voice->is_new = false;
    if (sound > 0)
        add_voice(mixer, voice, frames);
    return sound;
}

/* Sum a block of at most BLOCK_MS. Returns how many frames of the longest voice are audio. */
static size_t play_block(struct iw_mixer *mixer, size_t frames, uint64_t now_ns,
                         uint64_t heard_ns)
{
    bool sounds = false;
    uint64_t highest = 0; /* priority of the voices that have audio */
    size_t longest = 0;

    memset(mixer->sum, 0, frames * mixer->channels * sizeof *mixer->sum);
    for (size_t i = 0; i < mixer->order_count; i++) {
        struct voice *voice = mixer->order[i];
        bool ducked = sounds && highest > voice->rank;
        size_t sound = play_voice(mixer, voice, frames, ducked, now_ns, heard_ns);

        if (!sounds && voice->sounds) {
            sounds = true;
            highest = voice->rank;
        }
        longest = sound > longest ? sound : longest;
    }
    return longest;
}

static void write_sum(struct iw_mixer *mixer, uint8_t *out, size_t count)
{
    if (mixer->output_format == IW_PLAYOUT_S16) {
        iw_pcm_s16_from_f32(out, (const uint8_t *)mixer->sum, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        mixer->sum[i] = mixer->sum[i] < 1 ? mixer->sum[i] : 1;
        mixer->sum[i] = mixer->sum[i] > -1 ? mixer->sum[i] : -1;
    }
    memcpy(out, mixer->sum, count * sizeof *mixer->sum);
}

size_t iwp_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns,
                      uint64_t heard_ns)
{
    size_t block_max = mixer->sample_rate_hz / 1000 * BLOCK_MS;
    size_t frame_bytes =
        mixer->channels * (mixer->output_format == IW_PLAYOUT_F32 ? sizeof(float) : 2);
    size_t sound = 0;

    (void)change_turn(mixer, 1);
    take_voices(mixer);
    for (size_t done = 0; done < frames;) {
        size_t block = frames - done < block_max ? frames - done : block_max;
        uint64_t later_ns = (uint64_t)done * NS_PER_S / mixer->sample_rate_hz;

        sound += play_block(mixer, block, now_ns + later_ns, heard_ns + later_ns);
        write_sum(mixer, out + done * frame_bytes, block * mixer->channels);
        done += block;
    }
    (void)change_turn(mixer, 1);
    return sound;
}

size_t iw_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns)
{
    return iwp_mixer_pull(mixer, out, frames, now_ns, now_ns);
}
