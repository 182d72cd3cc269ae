/*
 * Finds the samples after a WAV header.
 *
 * Sources, by Microsoft:
 * - "Multimedia Programming Interface and Data Specifications 1.0", for RIFF and WAVE
 * - "Multiple Channel Audio Data and WAVE Files", for WAVE_FORMAT_EXTENSIBLE
 */
#include <string.h>

#include "include/iw_api.h"

#define RIFF_BYTES 12 /* "RIFF", a length, "WAVE" */
#define CHUNK_BYTES 8 /* a name and a length before each chunk */
#define USUAL_HEADER_BYTES 44
#define FORMAT_EXTENSIBLE 0xfffeu

static uint32_t load_u16(const uint8_t *src)
{
    return (uint32_t)src[0] | (uint32_t)src[1] << 8;
}

static uint32_t load_u32(const uint8_t *src)
{
    return load_u16(src) | load_u16(src + 2) << 16;
}

static void read_format(struct iw_wav *found, const uint8_t *body, size_t bytes)
{
    if (bytes < 16)
        return;
    found->format = load_u16(body);
    found->channels = load_u16(body + 2);
    found->sample_rate_hz = load_u32(body + 4);
    found->sample_bits = load_u16(body + 14);
    /* The real format is the first field of a GUID. */
    if (found->format == FORMAT_EXTENSIBLE && bytes >= 40)
        found->format = load_u16(body + 24);
}

/*
 * Return the size of a chunk's body with its pad byte. A body with an odd size has a pad byte.
 */
static size_t padded(size_t bytes)
{
    return bytes + (bytes & 1);
}

static int is_name(const uint8_t *src)
{
    int at;

    for (at = 0; at < 4; at++)
        if (src[at] < ' ' || src[at] > '~')
            return 0;
    return 1;
}

/* Return whether src consists of whole chunks only. */
static int is_chunks(const uint8_t *src, size_t src_bytes)
{
    size_t step, room;

    while (src_bytes > 0) {
        if (src_bytes < CHUNK_BYTES || !is_name(src))
            return 0;
        room = src_bytes - CHUNK_BYTES;
        step = load_u32(src + 4);
        if (step > room)
            return 0;
        step = padded(step) <= room ? padded(step) : room;
        src += CHUNK_BYTES + step;
        src_bytes -= CHUNK_BYTES + step;
    }
    return 1;
}

/*
 * Return how many of the `room` bytes at body are samples if the header announces `announced`
 * bytes.
 */
static size_t data_length(const uint8_t *body, size_t room, size_t announced)
{
    if (announced >= room)
        return room;
    if (padded(announced) >= room)
        return announced;
    return is_chunks(body + padded(announced), room - padded(announced)) ? announced : room;
}

enum iw_status iw_wav_find(struct iw_wav *found, const uint8_t *src, size_t src_bytes)
{
    size_t at = RIFF_BYTES;

    memset(found, 0, sizeof *found);
    found->data_bytes = src_bytes;
    if (src_bytes < RIFF_BYTES || memcmp(src, "RIFF", 4) != 0 ||
        memcmp(src + 8, "WAVE", 4) != 0)
        return IW_NO_RIFF;
    while (at <= src_bytes && src_bytes - at >= CHUNK_BYTES) {
        const uint8_t *body = src + at + CHUNK_BYTES;
        const size_t room = src_bytes - at - CHUNK_BYTES;
        const size_t announced = load_u32(src + at + 4);

        if (memcmp(src + at, "data", 4) == 0) {
            found->data_offset_bytes = at + CHUNK_BYTES;
            found->data_bytes = data_length(body, room, announced);
            return IW_OK;
        }
        if (announced > room)
            break;
        if (memcmp(src + at, "fmt ", 4) == 0)
            read_format(found, body, announced);
        at += CHUNK_BYTES + padded(announced);
    }
    at = src_bytes < USUAL_HEADER_BYTES ? src_bytes : USUAL_HEADER_BYTES;
    found->data_offset_bytes = at;
    found->data_bytes = src_bytes - at;
    return IW_NO_DATA;
}
