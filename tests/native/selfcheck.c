/*
 * A level is a set of instructions, such as AVX2. This program compares the kernels of every
 * level that this machine supports with the kernels in plain C (scalar). The results must be
 * equal in every bit. Each buffer ends at a page that cannot be accessed. The checks use all
 * lengths up to the size of several registers, so the buffers also begin at all alignments. Some
 * inputs have extreme values, such as infinity.
 * The Python tests compare the scalar kernels with independent references.
 *
 * tests/native/selfcheck.py builds this program and runs it. For another kind of processor,
 * selfcheck.py runs the program in QEMU.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base64/iwp_base64.h"
#include "include/iw_api.h"

enum { LENGTHS = 330, ROOM = 1 << 16, UNTOUCHED = 0xa5 };

/* Memory that ends at a page that cannot be accessed. */
struct guarded {
    uint8_t *begin;
    uint8_t *end;
};

static struct guarded source, second, target;
static uint8_t expected[ROOM], input[ROOM], other[ROOM];
static int level;
static unsigned long checks;

static void fail(const char *what, size_t length, size_t place)
{
    fprintf(stderr, "%s on %s: length %zu differs from scalar at byte %zu\n", what,
            iw_level_name(level), length, place);
    exit(1);
}

static struct guarded new_guarded(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory =
        mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory + ROOM, page, PROT_NONE) != 0) {
        perror("mmap");
        exit(1);
    }
    return (struct guarded){memory, memory + ROOM};
}

/* Return the next number of a fixed sequence. Source: G. Marsaglia, "Xorshift RNGs", 2003. */
static uint32_t next_random(void)
{
    static uint32_t state = 2463534242u;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void fill_random(uint8_t *bytes, size_t count)
{
    while (count-- > 0)
        bytes[count] = (uint8_t)(next_random() >> 11);
}

/* Check that an operation wrote the same bytes as the scalar kernel. */
static void check(const char *what, size_t length, const uint8_t *written, size_t bytes)
{
    size_t at;

    for (at = 0; at < bytes; at++)
        if (written[at] != expected[at])
            fail(what, length, at);
    checks++;
}

/* ---- operations over samples ---------------------------------------------------------------- */

static float gain = 1.0f;

static void gain_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iw_pcm_gain_s16(dst, src, samples, gain);
}

static void mix_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    iw_pcm_mix_s16(dst, src, second.end - 2 * samples, samples);
}

static void peak_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const uint32_t peak = iw_pcm_peak_s16(src, samples);

    memcpy(dst, &peak, sizeof peak);
}

static void energy_s16(uint8_t *dst, const uint8_t *src, size_t samples)
{
    const uint64_t energy = iw_pcm_energy_s16(src, samples);

    memcpy(dst, &energy, sizeof energy);
}

static void mask(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    static const uint8_t key[4] = {0x12, 0x34, 0x56, 0x78};

    iw_ws_mask(dst, src, bytes, key, bytes % 5);
}

static void encode(uint8_t *dst, const uint8_t *src, size_t groups)
{
    (void)iw_base64_encode(dst, 4 * groups, src, 3 * groups);
}

struct operation {
    const char *name;
    void (*run)(uint8_t *dst, const uint8_t *src, size_t items);
    size_t src_bytes; /* per item */
    size_t dst_bytes;
    size_t result_bytes; /* fixed, in addition to dst_bytes for each item */
    int in_place;
};

static const struct operation operations[] = {
    {"g711_decode_ulaw", iw_g711_decode_ulaw, 1, 2, 0, 0},
    {"g711_decode_alaw", iw_g711_decode_alaw, 1, 2, 0, 0},
    {"g711_encode_ulaw", iw_g711_encode_ulaw, 2, 1, 0, 0},
    {"g711_encode_alaw", iw_g711_encode_alaw, 2, 1, 0, 0},
    {"pcm_f32_from_s16", iw_pcm_f32_from_s16, 2, 4, 0, 0},
    {"pcm_s16_from_f32", iw_pcm_s16_from_f32, 4, 2, 0, 0},
    {"pcm_swap_s16", iw_pcm_swap_s16, 2, 2, 0, 1},
    {"pcm_gain_s16", gain_s16, 2, 2, 0, 1},
    {"pcm_mix_s16", mix_s16, 2, 2, 0, 1},
    {"pcm_peak_s16", peak_s16, 2, 0, 4, 0},
    {"pcm_energy_s16", energy_s16, 2, 0, 8, 0},
    {"ws_mask", mask, 1, 1, 0, 1},
    {"base64_encode", encode, 3, 4, 0, 0},
};

static void check_operation(const struct operation *operation, size_t items)
{
    const size_t src_bytes = items * operation->src_bytes;
    const size_t dst_bytes = items * operation->dst_bytes + operation->result_bytes;
    uint8_t *const src = source.end - src_bytes;
    uint8_t *const dst = target.end - dst_bytes;

    memcpy(src, input, src_bytes);
    memcpy(second.end - src_bytes, other, src_bytes);
    iw_level_force(IW_LEVEL_SCALAR);
    operation->run(expected, src, items);
    iw_level_force(level);
    dst[-1] = UNTOUCHED;
    operation->run(dst, src, items);
    check(operation->name, items, dst, dst_bytes);
    if (dst[-1] != UNTOUCHED)
        fail(operation->name, items, (size_t)-1);
    if (operation->in_place) {
        operation->run(src, src, items);
        check(operation->name, items, src, dst_bytes);
    }
}

static void check_lengths(const struct operation *operation)
{
    size_t items;

    for (items = 0; items < LENGTHS; items++) {
        fill_random(input, items * operation->src_bytes);
        fill_random(other, items * operation->src_bytes);
        check_operation(operation, items);
    }
}

/* Check all 16-bit values. If the items are floats, check instead the values half-way between
 * two samples, special values such as NaN, and random bits. */
static void check_values(const struct operation *operation)
{
    const uint32_t floats[] = {0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                               0xff800000, 0x7f800001, 0xffc00000, 0x4f000000, 0xcf000000,
                               0x46fffe00, 0xc7000000, 0x00000001, 0x80000001, 0x3f7fff00};
    uint32_t first, at, value;

    for (first = 0; first < 65536; first += 4096) {
        for (at = 0; at < 4096; at++) {
            const uint16_t sample = (uint16_t)(first + at);
            /* Half-way between two samples, rounding decides. */
            const float half = ((float)(int16_t)sample + 0.5f) / 32768.0f;

            memcpy(input + 2 * at, &sample, 2);
            if (operation->src_bytes != 4)
                continue;
            memcpy(&value, &half, 4);
            value = at % 7 == 0 ? floats[at / 7 % 15] : at % 2 ? next_random() : value;
            memcpy(input + 4 * at, &value, 4);
        }
        fill_random(other, 4096 * 2);
        check_operation(operation, 4096);
    }
    /* Check pairs of the loudest samples. The sum of the two squares is 2^31. */
    for (at = 0; at < 4096; at++)
        memcpy(input + 2 * at, "\x00\x80", 2);
    check_operation(operation, 2048);
}

static void check_gains(const struct operation *operation)
{
    const float gains[] = {0.0f, -0.0f, 1.0f,    -1.0f,    0.5f,     1.5f,      0.33f,
                           2.0f, 1e-9f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, NAN};
    size_t at;

    for (at = 0; at < sizeof gains / sizeof *gains; at++) {
        gain = gains[at];
        check_values(operation);
    }
    gain = 0.7f;
}

/* ---- base64 decoding ------------------------------------------------------------------------ */

/* Decode the text at the end of `source`. The text may have a wrong character. */
static void check_decode(size_t text_bytes, size_t room)
{
    const uint8_t *const text = source.end - text_bytes;
    uint8_t *const dst = target.end - room;
    struct iwp_base64_span plain, span;
    ptrdiff_t status;

    iw_level_force(IW_LEVEL_SCALAR);
    status = iw_base64_decode(expected, room, text, text_bytes);
    plain = iwp_base64_decode_until(expected, room, text, text_bytes);
    iw_level_force(level);
    if (status != iw_base64_decode(dst, room, text, text_bytes))
        fail("base64_decode", text_bytes, 0);
    if (status > 0)
        check("base64_decode", text_bytes, dst, (size_t)status);
    memset(dst, UNTOUCHED, room);
    dst[-1] = UNTOUCHED;
    span = iwp_base64_decode_until(dst, room, text, text_bytes);
    if (span.read_bytes != plain.read_bytes || span.written_bytes != plain.written_bytes ||
        dst[-1] != UNTOUCHED)
        fail("base64_decode_until", text_bytes, span.read_bytes);
    check("base64_decode_until", text_bytes, dst, span.written_bytes);
}

static void check_texts(void)
{
    size_t plain_bytes, text_bytes, at;
    uint8_t *text;

    for (plain_bytes = 0; plain_bytes < LENGTHS; plain_bytes++) {
        text_bytes = (plain_bytes + 2) / 3 * 4;
        fill_random(input, plain_bytes);
        text = source.end - text_bytes;
        iw_base64_encode(text, text_bytes, input, plain_bytes);
        check_decode(text_bytes, plain_bytes);
        check_decode(text_bytes, plain_bytes / 2);
        /* Put the same text inside a longer text. */
        text = source.end - text_bytes - 9;
        iw_base64_encode(text, text_bytes, input, plain_bytes);
        memcpy(text + text_bytes, "\",\"a\":1}]", 9);
        check_decode(text_bytes + 9, plain_bytes);
        check_decode(text_bytes + 9, plain_bytes + 100);
        for (at = 0; at < text_bytes; at += 1 + next_random() % 7) {
            const uint8_t good = text[at];

            text[at] = (uint8_t)next_random();
            check_decode(text_bytes + 9, plain_bytes + 100);
            text[at] = good;
        }
    }
}

/* Check each byte at each place of a register. All levels accept the byte, or all refuse it. */
static void check_characters(void)
{
    const size_t text_bytes = 344;
    uint8_t *const text = source.end - text_bytes;
    size_t at;
    int byte;

    for (at = 0; at < text_bytes; at++)
        text[at] = (uint8_t)('a' + at % 9);
    for (at = 0; at < text_bytes; at++) {
        for (byte = 0; byte < 256; byte++) {
            text[at] = (uint8_t)byte;
            check_decode(text_bytes, text_bytes / 4 * 3);
        }
        text[at] = 'z';
    }
}

int main(void)
{
    size_t at;
    int count = 0;

    source = new_guarded();
    second = new_guarded();
    target = new_guarded();
    for (level = IW_LEVEL_SCALAR + 1; level < IW_LEVEL_COUNT; level++) {
        if (!iw_level_supported(level))
            continue;
        checks = 0;
        for (at = 0; at < sizeof operations / sizeof *operations; at++) {
            check_lengths(&operations[at]);
            check_values(&operations[at]);
            if (operations[at].run == gain_s16)
                check_gains(&operations[at]);
        }
        check_texts();
        check_characters();
        printf("%s agrees with scalar in %lu checks\n", iw_level_name(level), checks);
        count++;
    }
    printf("%d levels checked\n", count);
    return 0;
}
