/*
 * libFuzzer driver: the search for the samples after a WAV header.
 *
 * Invariants for any input:
 * - the samples are inside the input
 * - a header is found only if the input begins with a header
 * - nothing outside the input is read
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "include/iw_api.h"

static void must(int held)
{
    if (!held)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *const block = malloc(size);
    const int begins =
        size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WAVE", 4) == 0;
    enum iw_status status;
    struct iw_wav found;

    if (size != 0)
        memcpy(block, data, size);
    memset(&found, 0xa5, sizeof found);
    status = iw_wav_find(&found, block, size);
    must((status == IW_NO_RIFF) == !begins);
    must(found.data_offset_bytes <= size && found.data_bytes <= size - found.data_offset_bytes);
    if (status == IW_NO_RIFF)
        must(found.data_offset_bytes == 0 && found.data_bytes == size);
    if (status == IW_OK)
        must(memcmp(data + found.data_offset_bytes - 8, "data", 4) == 0);
    must(found.channels <= 0xffff && found.sample_bits <= 0xffff && found.format <= 0xffff);
    free(block);
    return 0;
}
