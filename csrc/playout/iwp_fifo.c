/* Output that was made but not pulled yet. */
#include "playout/iwp_fifo.h"

#include <string.h>

int iwp_fifo_has_room(const struct iwp_fifo *fifo)
{
    return fifo->count < IWP_FIFO_PARTS && fifo->frames + IWP_LAG_FRAMES_MAX <= IWP_FIFO_FRAMES;
}

float *iwp_fifo_end(struct iwp_fifo *fifo)
{
    return fifo->samples + fifo->frames * fifo->channels;
}

static int is_plain(const struct iw_playout_part *part)
{
    return part->kind != IW_PLAYOUT_PLAYED || part->output_frames == part->source_frames;
}

int iwp_parts_append(struct iw_playout_part *parts, size_t *count, size_t capacity,
                     struct iw_playout_part part)
{
    struct iw_playout_part *last = *count > 0 ? &parts[*count - 1] : NULL;

    if (part.output_frames == 0)
        return 1;
    if (last != NULL && last->kind == part.kind && is_plain(last) && is_plain(&part) &&
        last->position + last->source_frames == part.position) {
        last->output_frames += part.output_frames;
        last->source_frames += part.source_frames;
        return 1;
    }
    if (*count == capacity)
        return 0;
    parts[(*count)++] = part;
    return 1;
}

void iwp_fifo_add(struct iwp_fifo *fifo, struct iw_playout_part part)
{
    (void)iwp_parts_append(fifo->parts, &fifo->count, IWP_FIFO_PARTS, part);
    fifo->frames += part.output_frames;
}

/* Remove and return the first `frames` frames of a part. */
static struct iw_playout_part split(struct iw_playout_part *part, size_t frames)
{
    struct iw_playout_part piece = *part;
    uint64_t share = part->source_frames * frames;

    piece.output_frames = (uint32_t)frames;
    piece.source_frames = (uint32_t)((share + part->output_frames / 2) / part->output_frames);
    part->output_frames -= piece.output_frames;
    part->source_frames -= piece.source_frames;
    part->position += piece.source_frames;
    return piece;
}

void iwp_fifo_pop(struct iwp_fifo *fifo, size_t frames, iwp_fifo_take *take, void *context)
{
    const float *samples = fifo->samples;
    size_t left = frames;
    size_t whole = 0;

    while (left > 0) {
        struct iw_playout_part *part = &fifo->parts[whole];
        struct iw_playout_part piece = *part;

        if (part->output_frames > left)
            piece = split(part, left);
        else
            whole++;
        take(context, samples, piece);
        samples += piece.output_frames * fifo->channels;
        left -= piece.output_frames;
    }
    fifo->count -= whole;
    memmove(fifo->parts, fifo->parts + whole, fifo->count * sizeof *fifo->parts);
    fifo->frames -= frames;
    memmove(fifo->samples, samples, fifo->frames * fifo->channels * sizeof *samples);
}
