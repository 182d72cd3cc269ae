/* Period search and pause detection. */
#include "playout/iwp_pitch.h"

#include <math.h>

#define FLOOR_START 1e-3f
#define FLOOR_LEAST 1e-5f
#define SILENT_RMS 3.1622777e-3f /* -50 dBFS: always a pause */
#define SOFT_RMS 1e-2f           /* -40 dBFS: a pause only near the noise floor */
#define ENERGY_LEAST 1e-12f      /* avoids a division by zero for digital silence */

enum { LANES = 8, DECIMATED_RATE_HZ = 8000 };

void iwp_pitch_init(struct iwp_pitch *pitch, size_t sample_rate_hz)
{
    pitch->shortest = sample_rate_hz / 400;
    pitch->longest = sample_rate_hz * 15 / 1000;
    pitch->decimation = sample_rate_hz / DECIMATED_RATE_HZ;
    if (pitch->decimation == 0)
        pitch->decimation = 1;
}

/* The sums of the lanes are independent, so vector code gives the same result. */
static float dot(const float *a, const float *b, size_t count)
{
    float lanes[LANES] = {0};
    float rest = 0;
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] += a[i + lane] * b[i + lane];
    }
    for (; i < count; i++)
        rest += a[i] * b[i];
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
           ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7])) + rest;
}

/* Return the best lag from `first` to `last`, both included. */
static struct iwp_match search(const float *mono, size_t window, size_t first, size_t last)
{
    struct iwp_match best = {first, -1};
    float own = dot(mono, mono, window);
    double energy = dot(mono + first, mono + first, window);

    for (size_t lag = first; lag <= last; lag++) {
        const float *other = mono + lag;
        float product = (float)fmax(energy, 0) * own;
        float correlation = dot(mono, other, window) / sqrtf(fmaxf(product, ENERGY_LEAST));

        if (correlation > best.correlation) {
            best.lag = lag;
            best.correlation = correlation;
        }
        if (lag < last)
            energy += (double)other[window] * other[window] - (double)other[0] * other[0];
    }
    return best;
}

static void decimate(float *dst, const float *src, size_t count, size_t factor)
{
    float scale = 1.0f / (float)factor;

    for (size_t i = 0; i < count; i++) {
        float sum = 0;

        for (size_t k = 0; k < factor; k++)
            sum += src[i * factor + k];
        dst[i] = sum * scale;
    }
}

struct iwp_match iwp_pitch_find(const struct iwp_pitch *pitch, const float *mono, size_t window,
                                size_t longest)
{
    float coarse[IWP_PITCH_FRAMES_MAX / 2];
    size_t factor = pitch->decimation;
    size_t first = pitch->shortest;
    size_t last = (longest < pitch->longest ? longest : pitch->longest) - 1;
    struct iwp_match match = {0, 0};
    size_t near;

    if (longest <= first)
        return match;
    if (factor == 1)
        return search(mono, window, first, last);
    decimate(coarse, mono, (window + last) / factor, factor);
    near = first / factor;
    match = search(coarse, window / factor, near, last / factor);
    near = match.lag * factor;
    if (near + factor - 1 < last)
        last = near + factor - 1;
    if (near > first + factor - 1)
        first = near - (factor - 1);
    return search(mono, window, first, last < first ? first : last);
}

void iwp_pause_init(struct iwp_pause *pause, size_t sample_rate_hz)
{
    pause->floor_rms = FLOOR_START;
    pause->block = sample_rate_hz / 200;
}

/* Update the noise floor. It falls to the signal at once, but rises slowly. */
static void follow(struct iwp_pause *pause, float least)
{
    float risen = pause->floor_rms * 1.002f;

    if (least < 4 * pause->floor_rms)
        pause->floor_rms = least < risen ? least : risen;
    else
        pause->floor_rms *= 1.0005f;
    pause->floor_rms = fmaxf(pause->floor_rms, FLOOR_LEAST);
}

bool iwp_pause_test(struct iwp_pause *pause, const float *samples, size_t frames,
                    size_t channels)
{
    size_t block = pause->block * channels;
    size_t blocks = frames / pause->block;
    float least = HUGE_VALF;
    float largest = 0;

    if (blocks == 0)
        return false;
    for (size_t i = 0; i < blocks; i++) {
        const float *part = samples + i * block;
        float mean = dot(part, part, block) / (float)block;

        least = fminf(least, mean);
        largest = fmaxf(largest, mean);
    }
    follow(pause, sqrtf(least));
    return sqrtf(largest) < fmaxf(SILENT_RMS, fminf(4 * pause->floor_rms, SOFT_RMS));
}
