/* The pull: prepares a whole block of output, then commits it, or drops it after a clear. */
#include <math.h>
#include <string.h>

#include "playout/iwp_playout.h"

#define NS_PER_S 1e9
#define CLOCK_SLEW (1.0 / 16) /* the part of a clock error that one pull corrects */
#define CLOCK_JUMP_NS 50e6    /* a larger error is corrected at once: the device had stopped */

/*
 * One pull takes at most DRAIN_MAX segments, so that many tiny packets do not delay the device.
 */
enum { DRAIN_MAX = 64, RAMP_MS = 5 };

/* The output of a running pull. */
struct output {
    struct iw_playout *playout;
    uint8_t *out; /* the place of the next frame */
    size_t sound_frames;
};

static void write_samples(const struct iw_playout *playout, uint8_t *out, const float *samples,
                          size_t count)
{
    if (playout->config.output_format == IW_PLAYOUT_F32)
        memcpy(out, samples, count * sizeof *samples);
    else
        iw_pcm_s16_from_f32(out, (const uint8_t *)samples, count);
}

static void count_piece(struct iwp_consumer *consumer, const struct iw_playout_part *piece)
{
    static const enum iwp_count count_of[] = {
        [IW_PLAYOUT_PLAYED] = IWP_COUNT_PLAYED, [IW_PLAYOUT_CONCEALED] = IWP_COUNT_CONCEALED,
        [IW_PLAYOUT_HELD] = IWP_COUNT_HELD,     [IW_PLAYOUT_IDLE] = IWP_COUNT_IDLE,
        [IW_PLAYOUT_FADED] = IWP_COUNT_FADED,
    };

    consumer->counts[count_of[piece->kind]] += piece->output_frames;
    if (piece->kind != IW_PLAYOUT_PLAYED)
        return;
    if (piece->output_frames > piece->source_frames)
        consumer->counts[IWP_COUNT_INSERTED] += piece->output_frames - piece->source_frames;
    else
        consumer->counts[IWP_COUNT_REMOVED] += piece->source_frames - piece->output_frames;
}

static void take_piece(void *context, const float *samples, struct iw_playout_part piece)
{
    struct output *output = context;
    struct iw_playout *playout = output->playout;
    struct iwp_consumer *consumer = &playout->consumer;

    write_samples(playout, output->out, samples,
                  piece.output_frames * playout->config.channels);
    output->out += piece.output_frames * playout->output_frame_bytes;
    if (piece.kind == IW_PLAYOUT_PLAYED || piece.kind == IW_PLAYOUT_CONCEALED ||
        piece.kind == IW_PLAYOUT_FADED)
        output->sound_frames += piece.output_frames;
    if (piece.source_frames > 0 && piece.kind != IW_PLAYOUT_FADED)
        consumer->heard = piece.position + piece.source_frames;
    count_piece(consumer, &piece);
    (void)iwp_parts_append(consumer->parts, &consumer->parts_count, IW_PLAYOUT_PARTS, piece);
}

static void add_silence(struct output *output, size_t frames)
{
    struct iwp_consumer *consumer = &output->playout->consumer;
    struct iw_playout_part piece = {IW_PLAYOUT_IDLE, (uint32_t)frames, 0, consumer->heard};

    memset(output->out, 0, frames * output->playout->output_frame_bytes);
    output->out += frames * output->playout->output_frame_bytes;
    count_piece(consumer, &piece);
    (void)iwp_parts_append(consumer->parts, &consumer->parts_count, IW_PLAYOUT_PARTS, piece);
}

/* ---- arrivals ---------------------------------------------------------------------------- */

static void note_end(struct iwp_consumer *consumer, int64_t end)
{
    size_t at = consumer->ends_count;

    if (consumer->ends_count == IW_PLAYOUT_ITEMS)
        return;
    while (at > 0 && consumer->ends[at - 1] > end)
        at--;
    memmove(consumer->ends + at + 1, consumer->ends + at,
            (consumer->ends_count - at) * sizeof *consumer->ends);
    consumer->ends[at] = end;
    consumer->ends_count++;
}

/* Before playing starts, set the start to the lowest position of the segments so far. */
static void prepare_place(struct iw_playout *playout, const struct iwp_segment *segment)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_store *store = &consumer->store;
    size_t passed = 0;

    if (consumer->state == IW_PLAYOUT_PLAYING || consumer->state == IW_PLAYOUT_STALLED ||
        segment->position < consumer->heard)
        return;
    if (store->first == NULL || segment->position < store->position)
        iwp_store_seek(store, segment->position);
    consumer->started = true;
    consumer->state = IW_PLAYOUT_PREBUFFERING;
    while (passed < consumer->ends_count && consumer->ends[passed] <= store->position)
        passed++;
    consumer->ends_count -= passed;
    memmove(consumer->ends, consumer->ends + passed,
            consumer->ends_count * sizeof *consumer->ends);
}

/* Return how many frames of an admitted segment are too late, because they were concealed. */
static size_t missed_part(const struct iwp_store *store, const struct iwp_segment *segment)
{
    int64_t missed = store->position - segment->position;

    return missed > 0 && segment->frames > 0 ? (size_t)missed : 0;
}

static void take_arrivals(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    uint64_t *counts = consumer->counts;

    for (size_t i = 0; i < DRAIN_MAX; i++) {
        struct iwp_segment *segment = iwp_store_next(&consumer->store);

        if (segment == NULL)
            return;
        if (segment->frames > 0)
            prepare_place(playout, segment);
        switch (iwp_store_admit(&consumer->store, segment)) {
        case IWP_ADMITTED:
            counts[IWP_COUNT_LATE] += missed_part(&consumer->store, segment);
            break;
        case IWP_LATE: counts[IWP_COUNT_LATE] += segment->frames; break;
        case IWP_DUPLICATE: counts[IWP_COUNT_DUPLICATE] += segment->frames; break;
        }
        if (segment->flags & IWP_SEGMENT_END)
            note_end(consumer, segment->position + (int64_t)segment->frames);
    }
}

/* ---- clear ------------------------------------------------------------------------------- */

/* Copy the fade tail of the last commit, because playing the fade may take several pulls. */
static void begin_fade(struct iw_playout *playout, int64_t position, bool silent)
{
    struct iwp_consumer *consumer = &playout->consumer;
    const struct iwp_fade_tail *tail = &consumer->fade_tails[consumer->fade_tail];

    consumer->fading_frames = silent ? 0 : tail->frames;
    consumer->fading_source = silent ? 0 : tail->source_frames;
    consumer->fading_position = position;
    consumer->faded_frames = 0;
    memcpy(consumer->fade, tail->samples,
           consumer->fading_frames * playout->config.channels * sizeof *tail->samples);
}

/* Handle the newest clear: start the fade of the last commit, and continue after the clear. */
static void answer_clear(struct iw_playout *playout, uint64_t word)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_fade_tail *tail = &consumer->fade_tails[consumer->fade_tail];
    const struct iwp_resumption *resumption;
    struct iwp_segment *cursor;
    uint64_t generation;
    int64_t position;
    bool silent;

    do {
        resumption = &playout->shared.resumptions[iwp_commit_epoch(word) & 1];
        generation = iwp_load(&resumption->generation);
        position = (int64_t)iwp_load(&resumption->position);
        silent = iwp_load(&resumption->silent) != 0;
        cursor = iwp_load_pointer(&resumption->cursor);
    } while (!iwp_swap_if(&playout->shared.commit, &word,
                          iwp_commit_word(iwp_commit_epoch(word), 0, position)));
    consumer->epoch = iwp_commit_epoch(word);
    if (consumer->faded_frames == consumer->fading_frames)
        begin_fade(playout, iwp_commit_position(word), silent);
    tail->frames = tail->source_frames = 0;
    iwp_store_reset(&consumer->store, cursor);
    iwp_store_seek(&consumer->store, position);
    consumer->heard = position;
    consumer->fifo.frames = consumer->fifo.count = 0;
    consumer->ends_count = 0;
    consumer->started = consumer->holding = consumer->resume_set = false;
    consumer->stalled_frames = 0;
    consumer->state = IW_PLAYOUT_EMPTY;
    iwp_conceal_stop(&consumer->conceal);
    iwp_store(&playout->shared.answered, generation);
}

/* Return the count of source frames in the first `frames` frames of the fade. */
static int64_t source_of_fade(const struct iwp_consumer *consumer, size_t frames)
{
    if (consumer->fading_frames == 0)
        return 0;
    return (int64_t)(consumer->fading_source * frames / consumer->fading_frames);
}

static size_t put_fade(struct output *output, size_t frames)
{
    struct iw_playout *playout = output->playout;
    struct iwp_consumer *consumer = &playout->consumer;
    size_t channels = playout->config.channels;
    size_t left = consumer->fading_frames - consumer->faded_frames;
    size_t count = frames < left ? frames : left;
    int64_t source = source_of_fade(consumer, consumer->faded_frames);
    struct iw_playout_part piece = {
        .kind = IW_PLAYOUT_FADED,
        .output_frames = (uint32_t)count,
        .source_frames =
            (uint32_t)(source_of_fade(consumer, consumer->faded_frames + count) - source),
        .position = consumer->fading_position + source,
    };
    const float *samples = consumer->fade + consumer->faded_frames * channels;

    for (size_t i = 0; i < count; i++) {
        float done =
            ((float)(consumer->faded_frames + i) + 0.5f) / (float)consumer->fading_frames;

        for (size_t c = 0; c < channels; c++)
            consumer->look[i * channels + c] = samples[i * channels + c] * (1 - done);
    }
    take_piece(output, consumer->look, piece);
    consumer->faded_frames += count;
    return count;
}

/* ---- the fade tail ----------------------------------------------------------------------- */

/* Return the position after the first `frames` frames of the fifo. */
static int64_t position_after(const struct iwp_consumer *consumer, size_t frames)
{
    int64_t position = consumer->heard;

    for (size_t i = 0; frames > 0; i++) {
        const struct iw_playout_part *part = &consumer->fifo.parts[i];
        size_t count = frames < part->output_frames ? frames : part->output_frames;
        uint64_t share = (uint64_t)part->source_frames * count;

        if (part->source_frames > 0)
            position = part->position + (int64_t)(share / part->output_frames);
        frames -= count;
    }
    return position;
}

/* Preview the audio after the fifo, without time scaling. Returns the count of frames. */
static size_t extend_fade_tail(struct iw_playout *playout, float *dst, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_voice voice = consumer->conceal.voice;
    size_t count = 0;

    if (consumer->state == IW_PLAYOUT_PLAYING) {
        if (playout->config.mode == IW_PLAYOUT_BURST && consumer->ends_count > 0) {
            int64_t left = consumer->ends[0] - consumer->store.position;

            if (left < (int64_t)frames)
                frames = left > 0 ? (size_t)left : 0;
        }
        count = iwp_store_read(&consumer->store, dst, frames);
        iwp_conceal_merge(&consumer->conceal, dst, count);
    } else if (consumer->state == IW_PLAYOUT_STALLED && voice.state == IWP_CONCEAL_RUNNING) {
        count = frames;
        iwp_conceal_make(&consumer->conceal, dst, count);
    }
    consumer->conceal.voice = voice;
    return count;
}

/*
 * Prepare the fade that follows this block if a clear comes. Returns the fade's source frames.
 */
static uint64_t prepare_fade_tail(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_fade_tail *tail = &consumer->fade_tails[!consumer->fade_tail];
    size_t channels = playout->config.channels;
    size_t queued = consumer->fifo.frames;
    size_t more = 0;
    int64_t position;

    queued = queued < playout->fade_frames ? queued : playout->fade_frames;
    memcpy(tail->samples, consumer->fifo.samples, queued * channels * sizeof *tail->samples);
    position = position_after(consumer, queued);
    if (queued == consumer->fifo.frames)
        more = extend_fade_tail(playout, tail->samples + queued * channels,
                                playout->fade_frames - queued);
    if (more > 0 && consumer->state == IW_PLAYOUT_PLAYING)
        position = consumer->store.position + (int64_t)more;
    tail->frames = queued + more;
    if (position - consumer->heard > IWP_FADE_SOURCE_MAX) {
        tail->frames = 0; /* audio was skipped here, so the fade would not be continuous */
        position = consumer->heard;
    }
    tail->source_frames = (size_t)(position - consumer->heard);
    return tail->source_frames;
}

/* ---- the pull ---------------------------------------------------------------------------- */

static void set_clock(struct iw_playout *playout, size_t frames, uint64_t now_ns)
{
    struct iwp_consumer *consumer = &playout->consumer;
    double given_ns = (double)now_ns;
    double due_ns = consumer->clock_ns + consumer->period_ns;
    bool first = consumer->period_ns <= 0;
    bool jumped = first || fabs(given_ns - due_ns) > CLOCK_JUMP_NS;

    /* The times of the pulls are irregular, but the device plays at an even rate. */
    consumer->clock_ns = jumped ? given_ns : due_ns + (given_ns - due_ns) * CLOCK_SLEW;
    consumer->period_ns = (double)frames * NS_PER_S / playout->config.sample_rate_hz;
}

static void put_sound(struct output *output, size_t frames)
{
    struct iw_playout *playout = output->playout;
    struct iwp_consumer *consumer = &playout->consumer;
    size_t block_max = playout->config.sample_rate_hz / 100;
    size_t done = 0;

    while (done < frames) {
        size_t block = frames - done < block_max ? frames - done : block_max;

        consumer->block_ns =
            consumer->clock_ns + (double)done * NS_PER_S / playout->config.sample_rate_hz;
        iwp_produce(playout, block);
        block = block < consumer->fifo.frames ? block : consumer->fifo.frames;
        iwp_fifo_pop(&consumer->fifo, block, take_piece, output);
        done += block;
    }
}

/* Fade in the first 5 ms or fade out the last 5 ms of a written block, for a pause. */
static void ramp(const struct iw_playout *playout, uint8_t *out, size_t frames, bool rising)
{
    size_t channels = playout->config.channels;
    size_t whole = playout->config.sample_rate_hz * RAMP_MS / 1000;
    size_t count = frames < whole ? frames : whole;

    out += rising ? 0 : (frames - count) * playout->output_frame_bytes;
    for (size_t i = 0; i < count * channels; i++) {
        float gain = ((float)(i / channels) + 0.5f) / (float)count;

        gain = rising ? gain : 1 - gain;
        if (playout->config.output_format == IW_PLAYOUT_F32) {
            float sample;

            memcpy(&sample, out + i * sizeof sample, sizeof sample);
            sample *= gain;
            memcpy(out + i * sizeof sample, &sample, sizeof sample);
        } else {
            int16_t sample;

            memcpy(&sample, out + i * sizeof sample, sizeof sample);
            sample = (int16_t)lrintf((float)sample * gain);
            memcpy(out + i * sizeof sample, &sample, sizeof sample);
        }
    }
}

/* Write all frames of a pull: the rest of a fade, then audio or the silence of a pause. */
static size_t put_all(struct iw_playout *playout, uint8_t *out, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct output output = {playout, out, 0};
    bool paused = iwp_load(&playout->shared.paused) != 0;
    size_t done = 0;

    consumer->parts_count = 0;
    if (consumer->faded_frames < consumer->fading_frames)
        done = put_fade(&output, frames);
    if (paused && consumer->paused) {
        add_silence(&output, frames - done);
    } else {
        put_sound(&output, frames - done);
        if (paused != consumer->paused)
            ramp(playout, out + done * playout->output_frame_bytes, frames - done, !paused);
    }
    consumer->paused = paused;
    return output.sound_frames;
}

/* Write the output of a pull during which a clear came: only the fade, then silence. */
static size_t put_fade_only(struct iw_playout *playout, uint8_t *out, size_t frames)
{
    struct output output = {playout, out, 0};

    playout->consumer.parts_count = 0;
    add_silence(&output, frames - put_fade(&output, frames));
    return output.sound_frames;
}

static void publish(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_shared *shared = &playout->shared;
    uint64_t written = iwp_load(&shared->notices_written);

    for (size_t i = 0; i < consumer->pending_count; i++) {
        if (written - iwp_load(&shared->notices_read) == IWP_RING) {
            consumer->counts[IWP_COUNT_MISSED_EVENTS] += consumer->pending_count - i;
            break;
        }
        shared->notices[written++ % IWP_RING] = consumer->pending[i];
        iwp_store(&shared->notices_written, written);
    }
    consumer->pending_count = 0;
    for (size_t i = 0; i < IWP_COUNTS; i++)
        iwp_store(&shared->counts[i], consumer->counts[i]);
    iwp_store(&shared->state, (uint64_t)consumer->state);
    iwp_store(&shared->pulled_ns, (uint64_t)consumer->clock_ns);
    iwp_store(&shared->period_ns, (uint64_t)consumer->period_ns);
    if (consumer->state == IW_PLAYOUT_PLAYING) {
        double source_ns = (double)consumer->heard * NS_PER_S / playout->config.sample_rate_hz;
        double offset_ns = consumer->clock_ns + consumer->period_ns - source_ns;

        iwp_store(&shared->offset_ns, (uint64_t)(int64_t)offset_ns);
    }
}

size_t iw_playout_pull(struct iw_playout *playout, uint8_t *out, size_t frames, uint64_t now_ns)
{
    struct iwp_consumer *consumer = &playout->consumer;
    uint64_t counts[IWP_COUNTS];
    uint64_t word = iwp_load(&playout->shared.commit);
    uint64_t fade;
    size_t faded;
    size_t sound;

    if (frames == 0)
        return 0;
    if (iwp_commit_epoch(word) != consumer->epoch)
        answer_clear(playout, word);
    set_clock(playout, frames, now_ns);
    memcpy(counts, consumer->counts, sizeof counts);
    faded = consumer->faded_frames;
    take_arrivals(playout);
    word = iwp_commit_word(consumer->epoch,
                           consumer->fade_tails[consumer->fade_tail].source_frames,
                           consumer->heard);
    sound = put_all(playout, out, frames);
    fade = prepare_fade_tail(playout);
    if (iwp_swap_if(&playout->shared.commit, &word,
                    iwp_commit_word(consumer->epoch, fade, consumer->heard))) {
        consumer->fade_tail = !consumer->fade_tail;
        iwp_store_release(&consumer->store);
    } else {
        memcpy(consumer->counts, counts, sizeof counts);
        consumer->pending_count = 0;
        consumer->faded_frames = faded;
        answer_clear(playout, word);
        sound = put_fade_only(playout, out, frames);
    }
    publish(playout);
    return sound;
}

size_t iw_playout_parts(const struct iw_playout *playout, struct iw_playout_part *parts,
                        size_t capacity)
{
    size_t count = playout->consumer.parts_count;

    count = count < capacity ? count : capacity;
    memcpy(parts, playout->consumer.parts, count * sizeof *parts);
    return count;
}
