/*
 * Several playouts into one device.
 *
 * The consumer takes a turn: it makes `turn` odd, reads the playouts, and makes it even again.
 * Whoever took a playout out changes `turn` too, to the value that it has. These changes of one
 * word have one order. If the consumer's came first, its turn is seen and its end can be waited
 * for; if it came second, it sees that the playout is gone.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/iwp_atomic.h"
#include "include/iw_playout.h"
#include "playout/iwp_conceal.h"

#define GAIN_MAX 4.0
#define DOWN_MS 30.0f /* from full level to none */
#define UP_MS 300.0f
#define HOLD_MS 250          /* a voice that pauses so long still keeps the others down */
#define GAIN_SCALE 1048576.0 /* gains are stored as whole numbers */
#define LEVEL_UNSET (-1.0f)  /* of a voice that was just put in */
#define NS_PER_S 1000000000u

enum { BLOCK_FRAMES_MAX = IWP_RATE_MAX_HZ / 100 };

struct voice {
    /* Set by the controller. */
    struct iwp_pointer playout;
    struct iwp_word gain;
    struct iwp_word ducked_gain;
    struct iwp_word priority;
    /* The consumer's. */
    struct iw_playout *playing;
    float level;        /* the gain that is reached */
    size_t hold_frames; /* while it counts as sounding */
    size_t sound_frames;
    float samples[BLOCK_FRAMES_MAX * IWP_CHANNELS_MAX];
};

struct iw_mixer {
    size_t sample_rate_hz;
    size_t channels;
    uint32_t output_format;
    struct iwp_word turn; /* odd while the consumer pulls */
    struct voice voices[IW_MIXER_VOICES];
    float sum[BLOCK_FRAMES_MAX * IWP_CHANNELS_MAX];
};

enum iw_status iw_mixer_create(struct iw_mixer **made, uint32_t sample_rate_hz,
                               uint32_t channels, uint32_t output_format)
{
    struct iw_mixer *mixer;

    if (sample_rate_hz < 8000 || sample_rate_hz > IWP_RATE_MAX_HZ || channels < 1 ||
        channels > IWP_CHANNELS_MAX || output_format > IW_PLAYOUT_F32)
        return IW_BAD_ARGUMENT;
    mixer = calloc(1, sizeof *mixer);
    if (mixer == NULL)
        return IW_NO_MEMORY;
    mixer->sample_rate_hz = sample_rate_hz;
    mixer->channels = channels;
    mixer->output_format = output_format;
    *made = mixer;
    return IW_OK;
}

void iw_mixer_destroy(struct iw_mixer *mixer)
{
    free(mixer);
}

/* ---- control ----------------------------------------------------------------------------- */

enum iw_status iw_mixer_set(struct iw_mixer *mixer, size_t voice, struct iw_playout *playout)
{
    if (voice >= IW_MIXER_VOICES)
        return IW_BAD_ARGUMENT;
    iwp_store_pointer(&mixer->voices[voice].playout, playout);
    return IW_OK;
}

enum iw_status iw_mixer_level(struct iw_mixer *mixer, size_t voice, double gain,
                              double ducked_gain, uint32_t priority)
{
    if (voice >= IW_MIXER_VOICES || !(gain >= 0 && gain <= GAIN_MAX) ||
        !(ducked_gain >= 0 && ducked_gain <= 1))
        return IW_BAD_ARGUMENT;
    iwp_store(&mixer->voices[voice].gain, (uint64_t)(gain * GAIN_SCALE));
    iwp_store(&mixer->voices[voice].ducked_gain, (uint64_t)(ducked_gain * GAIN_SCALE));
    iwp_store(&mixer->voices[voice].priority, priority);
    return IW_OK;
}

/* Add `change` to the turn; gives what it was before. */
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
    return (float)((double)iwp_load(word) / GAIN_SCALE);
}

/* Pull a block of each voice; gives how much of the longest of them is sound. */
static size_t pull_voices(struct iw_mixer *mixer, size_t frames, uint64_t now_ns)
{
    size_t sound = 0;

    for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
        struct voice *voice = &mixer->voices[i];

        if (voice->playing == NULL)
            continue;
        voice->sound_frames =
            iw_playout_pull(voice->playing, (uint8_t *)voice->samples, frames, now_ns);
        if (voice->sound_frames > 0)
            voice->hold_frames = mixer->sample_rate_hz * HOLD_MS / 1000;
        else
            voice->hold_frames -= voice->hold_frames < frames ? voice->hold_frames : frames;
        sound = voice->sound_frames > sound ? voice->sound_frames : sound;
    }
    return sound;
}

/* Whether a voice of a higher priority sounds. */
static bool is_ducked(const struct iw_mixer *mixer, uint64_t priority)
{
    for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
        const struct voice *voice = &mixer->voices[i];

        if (voice->playing != NULL && voice->hold_frames > 0 &&
            iwp_load(&voice->priority) > priority)
            return true;
    }
    return false;
}

static float wanted_level(const struct iw_mixer *mixer, const struct voice *voice)
{
    float gain = gain_of(&voice->gain);

    if (is_ducked(mixer, iwp_load(&voice->priority)))
        gain *= gain_of(&voice->ducked_gain);
    return gain;
}

/* One frame nearer to the wanted level: down quickly, up slowly. */
static float step_level(float level, float wanted, float down, float up)
{
    if (level > wanted)
        return level - down > wanted ? level - down : wanted;
    return level + up < wanted ? level + up : wanted;
}

static void add_voice(struct iw_mixer *mixer, struct voice *voice, size_t frames)
{
    float per_ms = (float)mixer->sample_rate_hz / 1000.0f;
    float down = 1.0f / (DOWN_MS * per_ms);
    float up = 1.0f / (UP_MS * per_ms);
    float wanted = wanted_level(mixer, voice);

    /* Nothing is heard of a silent voice, so its level may jump. */
    if (voice->sound_frames == 0 || voice->level <= LEVEL_UNSET)
        voice->level = wanted;
    for (size_t i = 0; i < frames; i++) {
        for (size_t c = 0; c < mixer->channels; c++) {
            size_t k = i * mixer->channels + c;

            mixer->sum[k] += voice->level * voice->samples[k];
        }
        voice->level = step_level(voice->level, wanted, down, up);
    }
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

static void take_voices(struct iw_mixer *mixer)
{
    for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
        struct voice *voice = &mixer->voices[i];
        struct iw_playout *playout = iwp_load_pointer(&voice->playout);

        if (playout == voice->playing)
            continue;
        voice->playing = playout;
        voice->hold_frames = 0;
        voice->level = LEVEL_UNSET;
    }
}

size_t iw_mixer_pull(struct iw_mixer *mixer, uint8_t *out, size_t frames, uint64_t now_ns)
{
    size_t block_max = mixer->sample_rate_hz / 100;
    size_t frame_bytes =
        mixer->channels * (mixer->output_format == IW_PLAYOUT_F32 ? sizeof(float) : 2);
    size_t sound = 0;

    (void)change_turn(mixer, 1);
    take_voices(mixer);
    for (size_t done = 0; done < frames;) {
        size_t block = frames - done < block_max ? frames - done : block_max;
        uint64_t block_ns = now_ns + (uint64_t)done * NS_PER_S / mixer->sample_rate_hz;

        sound += pull_voices(mixer, block, block_ns);
        memset(mixer->sum, 0, block * mixer->channels * sizeof *mixer->sum);
        for (size_t i = 0; i < IW_MIXER_VOICES; i++) {
            if (mixer->voices[i].playing != NULL)
                add_voice(mixer, &mixer->voices[i], block);
        }
        write_sum(mixer, out + done * frame_bytes, block * mixer->channels);
        done += block;
    }
    (void)change_turn(mixer, 1);
    return sound;
}
