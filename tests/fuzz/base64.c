/*
 * libFuzzer driver: base64 encoding and decoding, on every level of this machine. A level is a
 * set of instructions, such as AVX2.
 *
 * Invariant: for any input, each level has the same result as the slow reference below. The
 * kernels access only their arguments. Each argument is in a block of exactly its size.
 *
 * The first byte of an input selects the size of the output buffer, from 0 to a little more
 * than needed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base64/iwp_base64.h"
#include "include/iw_api.h"

/* The valid part of a text, and the bytes that this part decodes to. */
struct reading {
    size_t characters;
    size_t bytes;
    uint8_t *plain;
};

static int value_of(uint8_t character)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = character == 0 ? NULL : strchr(alphabet, character);

    return found == NULL ? -1 : (int)(found - alphabet);
}

/* Return the count of characters before the padding of a group: 4, 3, 2, or 0 if invalid. */
static size_t characters_of(const uint8_t *group)
{
    size_t count = 0;

    while (count < 4 && value_of(group[count]) >= 0)
        count++;
    if (count < 2 || (count < 4 && group[3] != '=') || (count == 2 && group[2] != '='))
        return 0;
    if ((count == 2 && value_of(group[1]) % 16 != 0) ||
        (count == 3 && value_of(group[2]) % 4 != 0))
        return 0;
    return count;
}

/* Decode bit by bit. Stop before a group that is invalid or has no room, and after padding. */
static struct reading read_text(const uint8_t *text, size_t size, size_t room)
{
    struct reading reading = {0, 0, malloc(size + 1)};

    while (size - reading.characters >= 4) {
        const uint8_t *const group = text + reading.characters;
        const size_t count = characters_of(group);
        uint8_t bytes[3] = {0, 0, 0};
        size_t bit;

        if (count == 0 || reading.bytes + count - 1 > room)
            break;
        for (bit = 0; bit < (count - 1) * 8; bit++)
            if (value_of(group[bit / 6]) >> (5 - bit % 6) & 1)
                bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        memcpy(reading.plain + reading.bytes, bytes, count - 1);
        reading.bytes += count - 1;
        reading.characters += 4;
        if (count < 4)
            break;
    }
    return reading;
}

/* Copy to a separate block, so that ASan detects an access of one byte beyond the block. */
static uint8_t *block_of(const uint8_t *bytes, size_t size)
{
    uint8_t *block = malloc(size);

    if (block == NULL && size != 0)
        abort();
    if (size != 0 && bytes != NULL)
        memcpy(block, bytes, size);
    return block;
}

static void must(int held)
{
    if (!held)
        abort();
}

static void check_decode(const uint8_t *text, size_t size, size_t room)
{
    const struct reading whole = read_text(text, size, SIZE_MAX);
    const struct reading fitting = read_text(text, size, room);
    uint8_t *const dst = block_of(NULL, room);
    size_t position = SIZE_MAX;
    const struct iwp_base64_span span = iwp_base64_decode_until(dst, room, text, size);
    enum iw_status status;
    ptrdiff_t written;

    must(span.read_bytes == fitting.characters && span.written_bytes == fitting.bytes);
    must(span.written_bytes == 0 || memcmp(dst, fitting.plain, span.written_bytes) == 0);
    written = iw_base64_decode(dst, room, text, size);
    status = iw_base64_fault(&position, text, size);
    must((status == IW_OK) == (whole.characters == size));
    must(status == IW_OK || position <= size);
    if (whole.characters == size)
        must(written == (whole.bytes <= room ? (ptrdiff_t)whole.bytes : IW_NO_ROOM));
    else
        must(written == (ptrdiff_t)status || written == IW_NO_ROOM);
    must(written <= 0 || memcmp(dst, whole.plain, (size_t)written) == 0);
    free(dst);
    free(whole.plain);
    free(fitting.plain);
}

static void check_encode(const uint8_t *plain, size_t size)
{
    const size_t text_bytes = (size + 2) / 3 * 4;
    uint8_t *const text = block_of(NULL, text_bytes);
    struct reading reading;

    must(iw_base64_encode(text, text_bytes, plain, size) == (ptrdiff_t)text_bytes);
    reading = read_text(text, text_bytes, SIZE_MAX);
    must(reading.characters == text_bytes && reading.bytes == size);
    must(size == 0 || memcmp(reading.plain, plain, size) == 0);
    if (text_bytes != 0)
        must(iw_base64_encode(text, text_bytes - 1, plain, size) == IW_NO_ROOM);
    free(reading.plain);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *block;
    size_t room;
    int level;

    if (size == 0)
        return 0;
    size--;
    room = size * data[0] / 200;
    block = block_of(data + 1, size);
    for (level = 0; level < IW_LEVEL_COUNT; level++) {
        if (iw_level_force(level) != IW_OK)
            continue;
        check_decode(block, size, room);
        check_encode(block, size);
    }
    free(block);
    return 0;
}
