/* q3t.h - the public API of the engine: opaque types, enums, plain structs and prototypes. cffi reads this text as its cdef,
 * without the lines that begin with #.
 *
 * Ownership: a call does not keep its pointer arguments, except the data of tensors, which must stay valid until everything
 * that was opened with them is closed. Each q3t_x_open has a q3t_x_close, which accepts NULL. A model and its sessions may be
 * closed in any order, and so may a pool and its models; the memory of a model is freed when the last of them is closed. An open
 * that fails leaves its output untouched; other calls that fail may have written a part of their output arrays.
 * Threads: one q3t_step or q3t_model_open at a time for each pool, which a model has for itself or shares with others; one call at
 * a time for each session.
 * fork: a child may use and close what its parent opened, if no call was running at the fork; the child can only close a
 * session with a decoder thread. */
#ifndef Q3T_H
#define Q3T_H
#include <stddef.h>
#include <stdint.h>

typedef struct q3t_model q3t_model;     /* config, weights, kernels, thread pool */
typedef struct q3t_session q3t_session; /* the state of one utterance */
typedef struct q3t_pool q3t_pool;       /* threads that compute, which several models may share */

enum { Q3T_SAMPLE_RATE = 24000 };       /* Hz; all samples, in and out, are float32, mono */

typedef enum q3t_status {
    Q3T_OK = 0,
    Q3T_E_ARGUMENT = 1,          /* an argument is NULL, out of range or inconsistent */
    Q3T_E_CONFIG = 2,            /* a dimension of the config is out of range */
    Q3T_E_SHAPE = 3,             /* a tensor is missing, or its shape or dtype is wrong */
    Q3T_E_SIZE = 4,              /* a size product overflows */
    Q3T_E_MEMORY = 5,            /* the allocation failed */
    Q3T_E_THREAD = 6,            /* a thread could not be started */
    Q3T_E_TALKER_NONFINITE = 7,  /* NaN or infinity in the talker's logits */
    Q3T_E_PREDICTOR_NONFINITE = 8, /* NaN or infinity in the code predictor's logits */
    Q3T_E_CODEC_NONFINITE = 9,   /* NaN or infinity in the decoded samples */
    Q3T_E_ENCODER_NONFINITE = 10, /* NaN or infinity in the output of an encoder */
    Q3T_E_STOPPED = 11,          /* stopped by another thread */
    Q3T_E_CACHE_ROOM = 12        /* q3t_session_reserve did not make room for the positions of the next step */
} q3t_status;

typedef enum q3t_dtype {
    Q3T_F32 = 0, Q3T_BF16 = 1,
    Q3T_INT8 = 2,                /* packed by q3t_pack: 8 bits for each weight, a scale for each row */
    Q3T_INT4 = 3,                /* packed by q3t_pack: 4 bits for each weight, a scale for each 32 weights of a row */
    Q3T_CODED = 4                /* packed by q3t_pack: bf16 in 12 bits, without loss */
} q3t_dtype;

/* Instruction sets. A mask can only remove instruction sets from those that the processor supports. */
typedef enum q3t_cpu {
    Q3T_CPU_AVX2 = 1,            /* AVX2, FMA, F16C; the OS saves YMM */
    Q3T_CPU_AVX512 = 2,          /* F, BW, DQ, VL; the OS saves ZMM */
    Q3T_CPU_AVX512_VNNI = 4,
    Q3T_CPU_AVX512_BF16 = 8,     /* used by q3t_probe alone */
    Q3T_CPU_NEON = 256,
    Q3T_CPU_NEON_DOTPROD = 512,
    Q3T_CPU_NEON_I8MM = 1024,
    Q3T_CPU_NEON_BF16 = 2048,
    Q3T_CPU_ALL = 0x7fffffff
} q3t_cpu;

/* The sizes of a transformer: the talker, the code predictor, or the transformer of the codec's decoder or encoder. */
typedef struct q3t_transformer_config {
    int32_t hidden, intermediate, layers, heads, kv_heads, head_dim;
    float rms_eps;
    double rope_theta;
} q3t_transformer_config;

typedef struct q3t_config {
    q3t_transformer_config talker, predictor, codec;
    int32_t vocab;               /* rows of the talker's codec head and codec embedding */
    int32_t text_vocab, text_hidden;
    int32_t code_groups;         /* codes in a frame */
    int32_t code_vocab;          /* rows of each head of the code predictor */
    int32_t code_embedding_rows; /* rows of each embedding of the code predictor */
    int32_t codec_eos, tts_pad;  /* token ids */
    int32_t max_positions;       /* most positions in a sequence of the talker */
    int32_t has_projection;      /* 1: there is a small_to_mtp_projection */
    int32_t codebook_size, codebook_dim, latent_dim, decoder_dim, sliding_window;
    int32_t upsampling, upsampling_ratios[8];   /* upsampling stages: their number and strides */
    int32_t rates, upsample_rates[8];           /* vocoder blocks: their number and strides */
} q3t_config;

/* Which tensor of a checkpoint. If several tensors have the same slot, the field `layer` of q3t_tensor counts them: layers, code
 * groups or blocks, from 0. TALKER_NORM .. TALKER_DOWN and PREDICTOR_NORM .. PREDICTOR_DOWN have the same order. */
typedef enum q3t_slot {
    Q3T_W_TEXT_EMBEDDING, Q3T_W_TEXT_FC1, Q3T_W_TEXT_FC1_BIAS, Q3T_W_TEXT_FC2, Q3T_W_TEXT_FC2_BIAS,
    Q3T_W_CODEC_EMBEDDING, Q3T_W_CODEC_HEAD,
    Q3T_W_TALKER_NORM, Q3T_W_TALKER_INPUT_NORM, Q3T_W_TALKER_POST_NORM, Q3T_W_TALKER_Q, Q3T_W_TALKER_K, Q3T_W_TALKER_V,
    Q3T_W_TALKER_O, Q3T_W_TALKER_Q_NORM, Q3T_W_TALKER_K_NORM, Q3T_W_TALKER_GATE, Q3T_W_TALKER_UP, Q3T_W_TALKER_DOWN,
    Q3T_W_PREDICTOR_NORM, Q3T_W_PREDICTOR_INPUT_NORM, Q3T_W_PREDICTOR_POST_NORM, Q3T_W_PREDICTOR_Q, Q3T_W_PREDICTOR_K,
    Q3T_W_PREDICTOR_V, Q3T_W_PREDICTOR_O, Q3T_W_PREDICTOR_Q_NORM, Q3T_W_PREDICTOR_K_NORM, Q3T_W_PREDICTOR_GATE,
    Q3T_W_PREDICTOR_UP, Q3T_W_PREDICTOR_DOWN,
    Q3T_W_PREDICTOR_EMBEDDING, Q3T_W_PREDICTOR_HEAD, Q3T_W_PROJECTION, Q3T_W_PROJECTION_BIAS,
    /* codec: the quantizer; layer g of REST_* is code group g + 1 */
    Q3T_W_FIRST_SUM, Q3T_W_FIRST_USAGE, Q3T_W_FIRST_PROJ, Q3T_W_REST_SUM, Q3T_W_REST_USAGE, Q3T_W_REST_PROJ,
    Q3T_W_PRE_CONV, Q3T_W_PRE_CONV_BIAS,
    Q3T_W_CODEC_IN, Q3T_W_CODEC_IN_BIAS, Q3T_W_CODEC_OUT, Q3T_W_CODEC_OUT_BIAS,
    Q3T_W_CODEC_NORM, Q3T_W_CODEC_INPUT_NORM, Q3T_W_CODEC_POST_NORM, Q3T_W_CODEC_Q, Q3T_W_CODEC_K, Q3T_W_CODEC_V,
    Q3T_W_CODEC_O, Q3T_W_CODEC_GATE, Q3T_W_CODEC_UP, Q3T_W_CODEC_DOWN, Q3T_W_CODEC_ATTN_SCALE, Q3T_W_CODEC_MLP_SCALE,
    /* codec: upsampling stages */
    Q3T_W_UP_CONV, Q3T_W_UP_CONV_BIAS, Q3T_W_UP_DW, Q3T_W_UP_DW_BIAS, Q3T_W_UP_NORM, Q3T_W_UP_NORM_BIAS,
    Q3T_W_UP_PW1, Q3T_W_UP_PW1_BIAS, Q3T_W_UP_PW2, Q3T_W_UP_PW2_BIAS, Q3T_W_UP_GAMMA,
    /* codec: the vocoder; the layer of UNIT_* is 3 * block + unit */
    Q3T_W_DEC_IN, Q3T_W_DEC_IN_BIAS,
    Q3T_W_BLOCK_ALPHA, Q3T_W_BLOCK_BETA, Q3T_W_BLOCK_CONV, Q3T_W_BLOCK_CONV_BIAS,
    Q3T_W_UNIT_ALPHA1, Q3T_W_UNIT_BETA1, Q3T_W_UNIT_CONV1, Q3T_W_UNIT_CONV1_BIAS,
    Q3T_W_UNIT_ALPHA2, Q3T_W_UNIT_BETA2, Q3T_W_UNIT_CONV2, Q3T_W_UNIT_CONV2_BIAS,
    Q3T_W_DEC_ALPHA, Q3T_W_DEC_BETA, Q3T_W_DEC_OUT, Q3T_W_DEC_OUT_BIAS,
    Q3T_W_SLOTS,                 /* number of slots of a model; the slots that follow belong to the encoders */
    /* speaker encoder; the layer of RES is (scale - 1) * block + branch, the layer of the other slots of a block is the block */
    Q3T_W_SPEAKER_IN, Q3T_W_SPEAKER_IN_BIAS, Q3T_W_SPEAKER_TDNN1, Q3T_W_SPEAKER_TDNN1_BIAS,
    Q3T_W_SPEAKER_RES, Q3T_W_SPEAKER_RES_BIAS, Q3T_W_SPEAKER_TDNN2, Q3T_W_SPEAKER_TDNN2_BIAS,
    Q3T_W_SPEAKER_SE1, Q3T_W_SPEAKER_SE1_BIAS, Q3T_W_SPEAKER_SE2, Q3T_W_SPEAKER_SE2_BIAS,
    Q3T_W_SPEAKER_MFA, Q3T_W_SPEAKER_MFA_BIAS, Q3T_W_SPEAKER_ATTENTION, Q3T_W_SPEAKER_ATTENTION_BIAS,
    Q3T_W_SPEAKER_POOL, Q3T_W_SPEAKER_POOL_BIAS, Q3T_W_SPEAKER_OUT, Q3T_W_SPEAKER_OUT_BIAS,
    /* codec encoder; the layer of UNIT* is units * stage + unit, the layer of BOOK_* is the code group */
    Q3T_W_ENCODER_IN, Q3T_W_ENCODER_IN_BIAS, Q3T_W_ENCODER_UNIT1, Q3T_W_ENCODER_UNIT1_BIAS,
    Q3T_W_ENCODER_UNIT2, Q3T_W_ENCODER_UNIT2_BIAS, Q3T_W_ENCODER_DOWN, Q3T_W_ENCODER_DOWN_BIAS,
    Q3T_W_ENCODER_OUT, Q3T_W_ENCODER_OUT_BIAS,
    Q3T_W_ENCODER_INPUT_NORM, Q3T_W_ENCODER_INPUT_NORM_BIAS, Q3T_W_ENCODER_Q, Q3T_W_ENCODER_K, Q3T_W_ENCODER_V,
    Q3T_W_ENCODER_O, Q3T_W_ENCODER_ATTN_SCALE, Q3T_W_ENCODER_POST_NORM, Q3T_W_ENCODER_POST_NORM_BIAS,
    Q3T_W_ENCODER_FC1, Q3T_W_ENCODER_FC2, Q3T_W_ENCODER_MLP_SCALE,
    Q3T_W_ENCODER_HALVE, Q3T_W_ENCODER_SEMANTIC, Q3T_W_ENCODER_ACOUSTIC,
    Q3T_W_ENCODER_BOOK_SUM, Q3T_W_ENCODER_BOOK_USAGE
} q3t_slot;

/* A tensor in the caller's memory, usually a mapped file. F32 and BF16: row-major as in the checkpoint, any alignment. INT8,
 * INT4 and CODED: packed, 64-byte aligned; `shape` is the shape before packing. Only these matrices may be packed: those in the
 * layers of the talker and the code predictor, CODEC_HEAD, PREDICTOR_HEAD and PROJECTION. The Q, K and V of a layer must have
 * the same dtype, and so must its GATE and UP; CODED and BF16 count as the same dtype here. */
typedef struct q3t_tensor {
    int32_t slot, layer, dtype, dims;
    int64_t shape[4];
    const void *data;
} q3t_tensor;

typedef struct q3t_model_options {
    uint32_t cpu_mask;           /* q3t_cpu flags that may be used; Q3T_CPU_ALL except in tests */
    int32_t threads;             /* 1 .. 1024, the calling thread included; not used with a pool */
    q3t_pool *pool;              /* q3t_model_open only: the pool that the model shares with others; NULL: one of its own */
    const void *codec;           /* q3t_model_open only: the codec's weights, packed by q3t_pack_codec; must outlive the model.
                                    The tensors then include no slot of the codec. NULL: the tensors include the codec's slots */
    size_t codec_bytes;          /* bytes of `codec`; Q3T_E_SHAPE unless q3t_pack_codec_bytes gives the same number */
} q3t_model_options;

/* Version of the layout of the codec's packed weights: a file with another number cannot be used. */
enum { Q3T_CODEC_LAYOUT = 3 };

/* How a code is chosen from scores. Source: the logits processors of transformers' generate(), in their order. */
typedef struct q3t_sampling {
    int32_t greedy;              /* 1: argmax; of the other fields only repetition_penalty is used */
    float temperature;           /* > 0 */
    int32_t top_k;               /* >= 0; 0: off */
    float top_p;                 /* 0 < p <= 1; 1: off */
    float repetition_penalty;    /* > 0; 1: off; used for the talker only */
} q3t_sampling;

/* The codec part of a prompt row, if it is not a codec token id. */
typedef enum q3t_row {
    Q3T_ROW_NONE = -1,           /* no codec part */
    Q3T_ROW_SPEAKER = -2,        /* the speaker vector */
    Q3T_ROW_REFERENCE = -3       /* -3 - f: the sum of the code embeddings of reference frame f */
} q3t_row;

typedef struct q3t_session_params {
    /* The prompt: row i is the text embedding of text_ids[i] (-1: none) plus the codec part codec_ids[i], a token id or q3t_row. */
    int32_t rows;
    const int32_t *text_ids, *codec_ids;  /* (rows,) */
    int32_t prefix_rows;         /* leading rows of voice, language and instruct: cached, because other prompts share them */
    int32_t trailing;            /* number of trailing_ids */
    int32_t open_text;           /* 1: q3t_session_append adds more trailing ids; 0: there are no others */
    const int32_t *trailing_ids; /* (trailing,): text id i is added to the input after frame i; inputs after the last get tts_pad */
    const float *speaker;        /* the speaker vector, (talker.hidden,), or NULL */
    int32_t reference_frames;
    const int32_t *reference_codes; /* (reference_frames, code_groups); decoded first, but their samples are not returned */
    q3t_sampling talker, predictor;
    uint64_t seed, key;          /* a draw depends on seed, key, frame and code group alone */
    int32_t max_frames;          /* >= 1; largest number of frames to generate */
    int32_t min_frames;          /* 0 .. max_frames: the model may not end the utterance earlier; less than 2 counts as 2 */
    int32_t chunk_frames;        /* frames in a chunk, 1 .. 64; 0: 1, 2, 4, then 8 frames, fewer if playback would run dry */
    int32_t pipeline;            /* 1: the session has a decoder thread; 0: q3t_step decodes */
    int32_t forced_frames;       /* 0 .. max_frames; teacher forcing: the first forced_frames frames get given codes */
    const int32_t *forced_codes; /* (forced_frames, code_groups): the given codes; logits are computed as for chosen codes */
} q3t_session_params;

typedef enum q3t_state {
    Q3T_RUNNING = 0,
    Q3T_STOP_EOS = 1,            /* the model ended the utterance; frames may still wait to be decoded */
    Q3T_STOP_MAX_FRAMES = 2
} q3t_state;

typedef struct q3t_session_info {
    int32_t state;               /* q3t_state of the generation */
    int32_t frames;              /* frames generated so far */
    int32_t decoded;             /* frames decoded so far; the caller may not have read their samples yet */
    int32_t positions;           /* positions in use in the talker's KV cache */
    int32_t cached_rows;         /* prompt rows taken from the prefix cache */
    int32_t rows_left;           /* prompt rows not taken in yet */
    int32_t reference_left;      /* reference frames that the codec's decoder has not taken in yet */
    int32_t needs_text;          /* 1: a step makes no frame before q3t_session_append gives the next trailing id or the last one */
    double prefill_seconds, talker_seconds, predictor_seconds, codec_seconds;
} q3t_session_info;

/* Values that q3t_session_peek copies, for tests and to measure precision. */
typedef enum q3t_peek {
    Q3T_PEEK_PREFILL = 0,        /* (rows, hidden): the talker's input for the prompt; the rows taken in so far */
    Q3T_PEEK_LOGITS = 1,         /* (vocab,): logits of the talker's last step */
    Q3T_PEEK_SCORES = 2,         /* (vocab,): the logits after repetition penalty and suppressed ids */
    Q3T_PEEK_HIDDEN = 3,         /* (hidden,): normed output of the talker's last step */
    Q3T_PEEK_INPUT = 4,          /* (hidden,): the codec part of the talker's next input */
    Q3T_PEEK_PREDICTOR_LOGITS = 5 /* (code_groups - 1, code_vocab): the code predictor's logits of the last frame */
} q3t_peek;

/* One line in English; a constant. */
const char *q3t_status_text(q3t_status status);
/* q3t_cpu flags of the instruction sets that processor and operating system support. */
uint32_t q3t_cpu_flags(void);
/* Write "entry=isa entry=isa ..." of the kernel table for a mask of q3t_cpu flags, cut to size bytes with the NUL. Returns the
 * length of the whole text, without the NUL. */
size_t q3t_kernels_text(uint32_t cpu_mask, char *text, size_t size);
/* Write "compiler version, C library version"; returns the length needed without the NUL. The compiler is the one that
 * built the engine, the C library the one that it runs with: both take part in how float results are rounded. */
size_t q3t_build_text(char *text, size_t size);

/* Bytes of a matrix (rows, columns) packed as INT8, INT4 or CODED, a multiple of 64. */
q3t_status q3t_pack_bytes(int32_t dtype, int64_t rows, int64_t columns, size_t *bytes);
/* Pack rows [32 * block0, 32 * block1) of a matrix, or as many of them as it has, into their place in `packed`. matrix: F32 or
 * BF16, dims 2; BF16 only for CODED. packed: the whole packed matrix, q3t_pack_bytes bytes, 64-byte aligned. Several threads may
 * pack different blocks of one matrix. CODED: Q3T_E_SIZE if rows have more different exponents than the format has room for. */
q3t_status q3t_pack(const q3t_tensor *matrix, int32_t dtype, int32_t block0, int32_t block1, void *packed);

/* Bytes of the packed weights of the codec's decoder, a multiple of 64. Reads the fields of config that q3t_decoder_open reads. */
q3t_status q3t_pack_codec_bytes(const q3t_config *config, size_t *bytes);
/* Pack the weights of the codec's decoder into `packed`: q3t_pack_codec_bytes bytes, 64-byte aligned. The bytes hold no pointers
 * and do not depend on the CPU or the number of threads. tensors: the slots FIRST_SUM .. Q3T_W_SLOTS - 1, each exactly once. */
q3t_status q3t_pack_codec(const q3t_config *config, const q3t_tensor *tensors, size_t count, int32_t threads, void *packed);

/* Bring the pages of mapped memory into the page table before they are read. The call waits for the disk: make it on a thread
 * of its own. Where the system does not support it, nothing happens. */
q3t_status q3t_warm(const void *memory, size_t bytes);

/* Start a pool of 1 .. 1024 threads, the calling thread included. Returns Q3T_E_ARGUMENT, Q3T_E_MEMORY or Q3T_E_THREAD on
 * failure. The decoder thread of a session (pipeline 1) does not use the pool. */
q3t_status q3t_pool_open(int32_t threads, q3t_pool **pool);
/* End the threads of the pool once its models are closed too. */
void q3t_pool_close(q3t_pool *pool);

/* Check config and tensors, pack the codec's weights unless options->codec has them, start the thread pool unless options->pool is
 * there. tensors (count,): each slot and layer of the config exactly once, in any order. Returns Q3T_E_CONFIG, Q3T_E_SHAPE,
 * Q3T_E_SIZE, Q3T_E_MEMORY or Q3T_E_THREAD on failure. */
q3t_status q3t_model_open(const q3t_config *config, const q3t_tensor *tensors, size_t count,
                          const q3t_model_options *options, q3t_model **model);
void q3t_model_close(q3t_model *model);
/* Bytes of the keys and values of one position in the talker's KV cache. */
size_t q3t_model_position_bytes(const q3t_model *model);

/* How many text ids were projected so far. A step that changes the number has read the matrices TEXT_FC1 and TEXT_FC2. */
int64_t q3t_model_projections(const q3t_model *model);

/* Copies the parameters. Returns Q3T_E_ARGUMENT, Q3T_E_SIZE, Q3T_E_MEMORY or Q3T_E_THREAD on failure. */
q3t_status q3t_session_open(q3t_model *model, const q3t_session_params *params, q3t_session **session);
/* Stops the decoder thread, if there is one, at the end of its chunk, and frees the session. */
void q3t_session_close(q3t_session *session);
/* Make room in the talker's KV cache for the next `positions` positions, as many of them as the session can ever use. An opened
 * session has none. A step uses one position for each prompt row that it takes in, at most its budget, and then one for each frame.
 * Memory is allocated in blocks, which stay until the session is closed. Q3T_E_MEMORY, Q3T_E_SIZE: the session is as before, except
 * for room that was got, and the call may be repeated. A session that has stopped or failed gets no room. */
q3t_status q3t_session_reserve(q3t_session *session, int32_t positions);
/* *bytes: out, the bytes that a session takes at most, as long as it has got no room beyond its first `positions` positions; the
 * stack of a decoder thread is not counted. Of the parameters these are read: rows, trailing, open_text, reference_frames,
 * max_frames, min_frames, forced_frames, chunk_frames, pipeline, and whether `speaker` is NULL. */
q3t_status q3t_session_bytes(const q3t_model *model, const q3t_session_params *params, int32_t positions, size_t *bytes);

/* Append n >= 0 trailing ids, each 0 .. text_vocab - 1, to a session with open_text 1; last 1: no more will come. A text ends with
 * the id tts_eos, which the caller appends like the others. Returns Q3T_E_ARGUMENT, and nothing changes, after the last id, or if
 * there are more trailing ids than max_positions. */
q3t_status q3t_session_append(q3t_session *session, const int32_t *ids, int32_t n, int32_t last);

/* Advance each of n sessions by one frame, and decode what is due. A session that has stopped only decodes, and so does one that
 * needs text: all of its frames are decoded then.
 * rows >= 1: the budget. At most so many prompt rows of all sessions together are taken in, in the order of the list; a session
 * makes its first frame in the step that takes in the last row of its prompt. Trailing ids that are projected in advance and the
 * reference frames of a cloned voice count as the prompt rows that take about as long; a step takes in a few reference frames even
 * if the prompts leave no budget. No output depends on `rows`.
 * spread: 0: frames of several sessions are decoded together, which is quicker, but makes some steps much longer than others. 1: the
 * decoding is spread over the steps, as far as playback allows, so that steps take about the same time. No output depends on it.
 * status: out, (n,), the q3t_status of each session; it is Q3T_E_ARGUMENT for a session that is NULL, belongs to another model or is
 * listed twice. It is Q3T_E_CACHE_ROOM for a session that is left out of the step, unchanged, because its KV cache has no room for
 * the positions that the step would use: the rows that are left of its prompt, at most those that the budget leaves for it, or one
 * position if it generates. q3t_session_reserve makes room. The budget of such a session goes to the others.
 * The call returns Q3T_OK even if sessions failed; it returns an error only if another argument is wrong. It allocates no memory,
 * except for prefixes that it adds to the model's cache. */
q3t_status q3t_step(q3t_model *model, q3t_session *const *sessions, int32_t n, int32_t rows, int32_t spread, int32_t *status);

/* Copy up to `capacity` decoded samples to samples. *count: out, the number of samples copied. wait 1: if the session has a
 * decoder thread, block until there is a sample or no more samples will come. The audio has ended if *count is 0 and, in
 * q3t_session_info, state is not Q3T_RUNNING and decoded equals frames. */
q3t_status q3t_session_read(q3t_session *session, float *samples, int32_t capacity, int32_t wait, int32_t *count);
/* Copy the codes of the generated frames [first, first + n): codes (n, code_groups). */
q3t_status q3t_session_codes(const q3t_session *session, int32_t first, int32_t n, int32_t *codes);
q3t_status q3t_session_info_get(const q3t_session *session, q3t_session_info *info);
/* Copy the value `what` to out (count,). Returns Q3T_E_ARGUMENT unless count is the number of floats of the value. */
q3t_status q3t_session_peek(const q3t_session *session, q3t_peek what, float *out, size_t count);

/* ---- A probe measures the limits of a machine on a thread pool of its own. One call at a time for each probe. */
typedef struct q3t_probe q3t_probe;
typedef enum q3t_peak {
    Q3T_PEAK_F32 = 0,            /* fused multiply-adds */
    Q3T_PEAK_BF16 = 1,           /* by dot-product instructions */
    Q3T_PEAK_INT8 = 2            /* by dot-product instructions */
} q3t_peak;
q3t_status q3t_probe_open(const q3t_model_options *options, q3t_probe **probe);
void q3t_probe_close(q3t_probe *probe);
/* Elapsed seconds in which the threads together read `memory` once. Only whole blocks of 256 KB are read: the rest of
 * `bytes` is left out. */
q3t_status q3t_probe_read(q3t_probe *probe, const void *memory, size_t bytes, double *seconds);
/* *rate: out, the operations of kind `what` that all threads together do in a second. The loops take at least `seconds` and keep
 * their data in registers; a multiply-add counts as two operations. *rate is 0 if cpu_mask leaves no instruction of that kind. */
q3t_status q3t_probe_peak(q3t_probe *probe, q3t_peak what, double seconds, double *rate);
/* Seconds of one barrier, at which all threads spin on each other's flags: the mean of `rounds` barriers, 1 .. 1000000. */
q3t_status q3t_probe_barrier(q3t_probe *probe, int32_t rounds, double *seconds);

/* ---- The codec's decoder without a model: one stream of codes and one call at a time. It reads these fields of config: codec,
 * code_groups, and the fields from codebook_size to the end. tensors: the slots FIRST_SUM .. Q3T_W_SLOTS - 1. */
typedef struct q3t_decoder q3t_decoder;
q3t_status q3t_decoder_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, const q3t_model_options *options,
                            q3t_decoder **decoder);
void q3t_decoder_close(q3t_decoder *decoder);
/* Decode the next frames of the stream; restart 1: the first frames of a new stream. frames: 1 .. 64; codes: (frames, code_groups);
 * samples: out, (frames * samples of a frame,). The samples do not depend on how the stream is cut into calls. */
q3t_status q3t_decoder_run(q3t_decoder *decoder, int32_t restart, const int32_t *codes, int32_t frames, float *samples);

/* ---- The encoders that make a voice from a recording. Each has its own weights and threads; one call at a time. */
typedef struct q3t_speaker q3t_speaker; /* speaker encoder: recording to speaker vector */
typedef struct q3t_encoder q3t_encoder; /* the codec's encoder: recording to codes */

/* The first `layers` elements of channels, kernels and dilations describe the first convolution, each SE-Res2Net block, and the
 * convolution after the blocks. */
typedef struct q3t_speaker_config {
    int32_t layers, channels[8], kernels[8], dilations[8];
    int32_t scale;               /* parts of the channels in a Res2Net block */
    int32_t se, attention;       /* bottleneck channels of squeeze-excitation and of attentive pooling */
    int32_t embedding;
} q3t_speaker_config;

typedef struct q3t_encoder_config {
    q3t_transformer_config transformer; /* rms_eps is the eps of its layer norms */
    int32_t filters, kernel, last_kernel, residual_kernel, compress;
    int32_t units, dilation_growth;     /* residual units in a stage; unit i has dilation dilation_growth^i */
    int32_t stages, rates[8];           /* stages and their strides, the first stage first */
    int32_t halving;                    /* stride of the convolution after the transformer */
    int32_t code_groups, codebook_size, codebook_dim;
} q3t_encoder_config;

/* tensors (count,): each slot and layer of the speaker encoder exactly once. */
q3t_status q3t_speaker_open(const q3t_speaker_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_speaker **speaker);
/* Make a call that runs in another thread, and every later call, return Q3T_E_STOPPED soon. Takes NULL. */
void q3t_speaker_stop(q3t_speaker *speaker);
void q3t_speaker_close(q3t_speaker *speaker);
/* Compute the speaker vector, embedding (config.embedding,), of a recording, samples (n,). Q3T_E_ARGUMENT if n is too small for
 * the reflection at the edges; 0.1 s is enough for the released models. */
q3t_status q3t_speaker_embed(q3t_speaker *speaker, const float *samples, int32_t n, float *embedding);
/* Compute the log-mel spectrogram that q3t_speaker_embed uses, for tests: mel (n / 256, 128) of samples (n,). */
q3t_status q3t_speaker_mel(q3t_speaker *speaker, const float *samples, int32_t n, float *mel);

q3t_status q3t_encoder_open(const q3t_encoder_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_encoder **encoder);
/* As q3t_speaker_stop. */
void q3t_encoder_stop(q3t_encoder *encoder);
void q3t_encoder_close(q3t_encoder *encoder);
/* Encode a recording, samples (n,) with n >= 1, to codes (ceil(n / samples of a frame), code_groups). The memory used grows
 * with n. */
q3t_status q3t_encoder_run(q3t_encoder *encoder, const float *samples, int32_t n, int32_t *codes);

/* ---- The time stretch changes the speed of speech and keeps its pitch. One stream of samples and one call at a time for each
 * stretch. It allocates memory only when it is opened. Sample i of the output is complete at most 930 input samples (39 ms) after
 * its place in the input, i * speed. A sample that is not finite is taken as 0. */
typedef struct q3t_stretch q3t_stretch;
/* speed: 0.25 .. 4; 2 makes speech half as long. */
q3t_status q3t_stretch_open(double speed, q3t_stretch **stretch);
void q3t_stretch_close(q3t_stretch *stretch);
/* Take samples of the input, samples (n,), and write up to `capacity` samples of the output, out (capacity,), capacity >= 1. *used:
 * out, the number of samples taken; *count: out, the number written. If *count is less than capacity, *used is n and all output
 * that is complete was written; otherwise call again with the other samples, even if there are none. The output depends on the
 * input samples alone, not on how they are cut into calls. Q3T_E_ARGUMENT after q3t_stretch_finish. */
q3t_status q3t_stretch_run(q3t_stretch *stretch, const float *samples, int32_t n, int32_t *used, float *out, int32_t capacity,
                           int32_t *count);
/* End the input, and write up to `capacity` of the remaining samples of the output; call again until *count is less than capacity.
 * n samples of input make n / speed samples of output in all, rounded. */
q3t_status q3t_stretch_finish(q3t_stretch *stretch, float *out, int32_t capacity, int32_t *count);
#endif
