/* dump.h - reads the file that make_dump.py writes: a tiny model, prompts, and the codes and samples that it must generate. */
#ifndef DUMP_H
#define DUMP_H
#include "q3t.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dump_case {
    int32_t rows, prefix_rows, trailing, max_frames, frames, samples;
    float repetition_penalty;
    const int32_t *text_ids, *codec_ids, *trailing_ids;
    const int32_t *codes;        /* (frames, code_groups) */
    const float *wav;            /* (samples,) */
} dump_case;

typedef struct dump {
    unsigned char *bytes;
    q3t_config config;
    int32_t tensor_count, case_count;
    q3t_tensor *tensors;
    dump_case *cases;
} dump;

typedef struct dump_head {
    char magic[8];
    int32_t config_bytes, tensors, cases, unused;
} dump_head;
typedef struct dump_tensor_row {
    int32_t slot, layer, dtype, dims;
    int64_t shape[4], offset;
} dump_tensor_row;
typedef struct dump_case_row {
    int32_t rows, prefix_rows, trailing, max_frames, frames, samples;
    float repetition_penalty;
    int32_t unused;
    int64_t text_ids, codec_ids, trailing_ids, codes, wav;
} dump_case_row;

static inline void dump_fail(const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

static inline unsigned char *dump_bytes(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) dump_fail(path, "cannot be read");
    size_t size = (size_t)ftell(file), room = (size + 63) / 64 * 64;
    unsigned char *bytes = aligned_alloc(64, room ? room : 64);
    rewind(file);
    if (!bytes || fread(bytes, 1, size, file) != size || size < sizeof(dump_head)) dump_fail(path, "cannot be read");
    fclose(file);
    return bytes;
}

/* Read a dump, which dump_close frees; ends the program if it cannot be read. */
static inline void dump_open(const char *path, dump *d) {
    d->bytes = dump_bytes(path);
    dump_head head;
    memcpy(&head, d->bytes, sizeof head);
    if (memcmp(head.magic, "Q3TDUMP1", 8) || head.config_bytes != sizeof d->config) dump_fail(path, "is not a dump for this version of the engine");
    memcpy(&d->config, d->bytes + sizeof head, sizeof d->config);
    const unsigned char *at = d->bytes + (sizeof head + sizeof d->config + 7) / 8 * 8;
    d->tensor_count = head.tensors;
    d->case_count = head.cases;
    d->tensors = calloc((size_t)head.tensors, sizeof *d->tensors);
    d->cases = calloc((size_t)head.cases, sizeof *d->cases);
    if (!d->tensors || !d->cases) dump_fail(path, "no memory");
    for (int32_t i = 0; i < head.tensors; i++, at += sizeof(dump_tensor_row)) {
        dump_tensor_row row;
        memcpy(&row, at, sizeof row);
        q3t_tensor *t = &d->tensors[i];
        t->slot = row.slot, t->layer = row.layer, t->dtype = row.dtype, t->dims = row.dims;
        memcpy(t->shape, row.shape, sizeof t->shape);
        t->data = d->bytes + row.offset;
    }
    for (int32_t i = 0; i < head.cases; i++, at += sizeof(dump_case_row)) {
        dump_case_row row;
        memcpy(&row, at, sizeof row);
        d->cases[i] = (dump_case){row.rows, row.prefix_rows, row.trailing, row.max_frames, row.frames, row.samples,
                                  row.repetition_penalty,
                                  (const int32_t *)(const void *)(d->bytes + row.text_ids),
                                  (const int32_t *)(const void *)(d->bytes + row.codec_ids),
                                  (const int32_t *)(const void *)(d->bytes + row.trailing_ids),
                                  (const int32_t *)(const void *)(d->bytes + row.codes),
                                  (const float *)(const void *)(d->bytes + row.wav)};
    }
}

static inline void dump_close(dump *d) {
    free(d->tensors);
    free(d->cases);
    free(d->bytes);
}
#endif
