/* q3t.h - the public API of the engine, and the text cffi reads as its cdef:
 * opaque types, enums, plain structs and prototypes, nothing else.
 *
 * Ownership: every pointer that goes in is borrowed for the call, except tensor
 * data, which must outlive what was opened on it. What *_open returns is
 * released by the matching *_close, which takes NULL. A model and its sessions
 * may be closed in any order; the model's memory is freed with the last of them.
 * On failure nothing is returned and outputs are untouched.
 * Threads: one q3t_step at a time per model; a session belongs to one caller.
 * fork: a child may use and close what the parent opened if no call was running;
 * a session that decodes on a thread of its own can only be closed there. */
#ifndef Q3T_H
#define Q3T_H
#include <stddef.h>
#include <stdint.h>

typedef struct q3t_model q3t_model;     /* config, weights, kernels, pool: immutable once open, but for its caches */
typedef struct q3t_session q3t_session; /* one utterance */

/* Of all samples, in and out: mono, samples a second. */
enum { Q3T_SAMPLE_RATE = 24000 };

typedef enum q3t_status {
    Q3T_OK = 0,
    Q3T_E_ARGUMENT = 1,          /* an argument is NULL, out of range or inconsistent */
    Q3T_E_CONFIG = 2,            /* a dimension of the config is out of range */
    Q3T_E_SHAPE = 3,             /* a tensor is missing, or its shape or dtype is wrong */
    Q3T_E_SIZE = 4,              /* a size product overflows */
    Q3T_E_MEMORY = 5,            /* the allocation failed */
    Q3T_E_THREAD = 6,            /* a thread could not be started */
    Q3T_E_TALKER_NONFINITE = 7,  /* NaN or infinity in the talker's logits */
    Q3T_E_PREDICTOR_NONFINITE = 8,
    Q3T_E_CODEC_NONFINITE = 9,   /* NaN or infinity in the decoded samples */
    Q3T_E_ENCODER_NONFINITE = 10, /* NaN or infinity in what an encoder made of a recording */
    Q3T_E_STOPPED = 11           /* another thread asked the call to stop */
} q3t_status;

typedef enum q3t_dtype {
    Q3T_F32 = 0, Q3T_BF16 = 1,
    Q3T_INT8 = 2,                /* packed by q3t_pack: 8 bits a weight and a scale for each row */
    Q3T_INT4 = 3,                /* packed: 4 bits a weight and a scale for each 32 of a row, 4.5 bits in all */
    Q3T_CODED = 4                /* packed without loss: bf16 in 12 bits */
} q3t_dtype;

/* Instruction sets. A mask narrows what the processor offers; it never widens. */
typedef enum q3t_cpu {
    Q3T_CPU_AVX2 = 1,            /* AVX2, FMA, F16C; the OS saves YMM */
    Q3T_CPU_AVX512 = 2,          /* F, BW, DQ, VL; the OS saves ZMM */
    Q3T_CPU_AVX512_VNNI = 4,
    Q3T_CPU_AVX512_BF16 = 8,     /* for q3t_probe alone: no kernel is faster by it */
    Q3T_CPU_NEON = 256,
    Q3T_CPU_NEON_DOTPROD = 512,
    Q3T_CPU_NEON_I8MM = 1024,
    Q3T_CPU_NEON_BF16 = 2048,
    Q3T_CPU_ALL = 0x7fffffff
} q3t_cpu;

/* One decoder-only transformer: the talker, the code predictor, or the one inside the codec. */
typedef struct q3t_transformer_config {
    int32_t hidden, intermediate, layers, heads, kv_heads, head_dim;
    float rms_eps;
    double rope_theta;
} q3t_transformer_config;

typedef struct q3t_config {
    q3t_transformer_config talker, predictor, codec;
    int32_t vocab;               /* rows of the talker's codec head and codec embedding */
    int32_t text_vocab, text_hidden;
    int32_t code_groups;         /* codes a frame */
    int32_t code_vocab;          /* rows of each head of the code predictor */
    int32_t code_embedding_rows; /* rows of each embedding of the code predictor */
    int32_t codec_eos, tts_pad;  /* token ids */
    int32_t max_positions;       /* of the talker */
    int32_t has_projection;      /* small_to_mtp_projection is there */
    int32_t codebook_size, codebook_dim, latent_dim, decoder_dim, sliding_window;
    int32_t upsampling, upsampling_ratios[8];   /* count, then the transposed k = stride convolutions */
    int32_t rates, upsample_rates[8];           /* count, then the vocoder blocks */
} q3t_config;

/* What a tensor is. `layer` of q3t_tensor is the layer, group or block it belongs to (0 where there is one).
 * TALKER_*, PREDICTOR_* and CODEC_* hold, in that order, the same transformer slots. */
typedef enum q3t_slot {
    Q3T_W_TEXT_EMBEDDING, Q3T_W_TEXT_FC1, Q3T_W_TEXT_FC1_BIAS, Q3T_W_TEXT_FC2, Q3T_W_TEXT_FC2_BIAS,
    Q3T_W_CODEC_EMBEDDING, Q3T_W_CODEC_HEAD,
    Q3T_W_TALKER_NORM, Q3T_W_TALKER_INPUT_NORM, Q3T_W_TALKER_POST_NORM, Q3T_W_TALKER_Q, Q3T_W_TALKER_K, Q3T_W_TALKER_V,
    Q3T_W_TALKER_O, Q3T_W_TALKER_Q_NORM, Q3T_W_TALKER_K_NORM, Q3T_W_TALKER_GATE, Q3T_W_TALKER_UP, Q3T_W_TALKER_DOWN,
    Q3T_W_PREDICTOR_NORM, Q3T_W_PREDICTOR_INPUT_NORM, Q3T_W_PREDICTOR_POST_NORM, Q3T_W_PREDICTOR_Q, Q3T_W_PREDICTOR_K,
    Q3T_W_PREDICTOR_V, Q3T_W_PREDICTOR_O, Q3T_W_PREDICTOR_Q_NORM, Q3T_W_PREDICTOR_K_NORM, Q3T_W_PREDICTOR_GATE,
    Q3T_W_PREDICTOR_UP, Q3T_W_PREDICTOR_DOWN,
    Q3T_W_PREDICTOR_EMBEDDING, Q3T_W_PREDICTOR_HEAD, Q3T_W_PROJECTION, Q3T_W_PROJECTION_BIAS,
    /* codec: the quantizer; layer 0 of REST is the second codebook */
    Q3T_W_FIRST_SUM, Q3T_W_FIRST_USAGE, Q3T_W_FIRST_PROJ, Q3T_W_REST_SUM, Q3T_W_REST_USAGE, Q3T_W_REST_PROJ,
    Q3T_W_PRE_CONV, Q3T_W_PRE_CONV_BIAS,
    Q3T_W_CODEC_IN, Q3T_W_CODEC_IN_BIAS, Q3T_W_CODEC_OUT, Q3T_W_CODEC_OUT_BIAS,
    Q3T_W_CODEC_NORM, Q3T_W_CODEC_INPUT_NORM, Q3T_W_CODEC_POST_NORM, Q3T_W_CODEC_Q, Q3T_W_CODEC_K, Q3T_W_CODEC_V,
    Q3T_W_CODEC_O, Q3T_W_CODEC_GATE, Q3T_W_CODEC_UP, Q3T_W_CODEC_DOWN, Q3T_W_CODEC_ATTN_SCALE, Q3T_W_CODEC_MLP_SCALE,
    /* codec: upsampling stages */
    Q3T_W_UP_CONV, Q3T_W_UP_CONV_BIAS, Q3T_W_UP_DW, Q3T_W_UP_DW_BIAS, Q3T_W_UP_NORM, Q3T_W_UP_NORM_BIAS,
    Q3T_W_UP_PW1, Q3T_W_UP_PW1_BIAS, Q3T_W_UP_PW2, Q3T_W_UP_PW2_BIAS, Q3T_W_UP_GAMMA,
    /* codec: the vocoder; UNIT_* have layer 3 * block + unit */
    Q3T_W_DEC_IN, Q3T_W_DEC_IN_BIAS,
    Q3T_W_BLOCK_ALPHA, Q3T_W_BLOCK_BETA, Q3T_W_BLOCK_CONV, Q3T_W_BLOCK_CONV_BIAS,
    Q3T_W_UNIT_ALPHA1, Q3T_W_UNIT_BETA1, Q3T_W_UNIT_CONV1, Q3T_W_UNIT_CONV1_BIAS,
    Q3T_W_UNIT_ALPHA2, Q3T_W_UNIT_BETA2, Q3T_W_UNIT_CONV2, Q3T_W_UNIT_CONV2_BIAS,
    Q3T_W_DEC_ALPHA, Q3T_W_DEC_BETA, Q3T_W_DEC_OUT, Q3T_W_DEC_OUT_BIAS,
    Q3T_W_SLOTS,                 /* of a model; what follows belongs to parts that are opened by themselves */
    /* speaker encoder; RES has layer branches * block + branch, the other block slots have the block */
    Q3T_W_SPEAKER_IN, Q3T_W_SPEAKER_IN_BIAS, Q3T_W_SPEAKER_TDNN1, Q3T_W_SPEAKER_TDNN1_BIAS,
    Q3T_W_SPEAKER_RES, Q3T_W_SPEAKER_RES_BIAS, Q3T_W_SPEAKER_TDNN2, Q3T_W_SPEAKER_TDNN2_BIAS,
    Q3T_W_SPEAKER_SE1, Q3T_W_SPEAKER_SE1_BIAS, Q3T_W_SPEAKER_SE2, Q3T_W_SPEAKER_SE2_BIAS,
    Q3T_W_SPEAKER_MFA, Q3T_W_SPEAKER_MFA_BIAS, Q3T_W_SPEAKER_ATTENTION, Q3T_W_SPEAKER_ATTENTION_BIAS,
    Q3T_W_SPEAKER_POOL, Q3T_W_SPEAKER_POOL_BIAS, Q3T_W_SPEAKER_OUT, Q3T_W_SPEAKER_OUT_BIAS,
    /* codec encoder; UNIT* has layer units * stage + unit; BOOK_* has the code group, 0 is the semantic one */
    Q3T_W_ENCODER_IN, Q3T_W_ENCODER_IN_BIAS, Q3T_W_ENCODER_UNIT1, Q3T_W_ENCODER_UNIT1_BIAS,
    Q3T_W_ENCODER_UNIT2, Q3T_W_ENCODER_UNIT2_BIAS, Q3T_W_ENCODER_DOWN, Q3T_W_ENCODER_DOWN_BIAS,
    Q3T_W_ENCODER_OUT, Q3T_W_ENCODER_OUT_BIAS,
    Q3T_W_ENCODER_INPUT_NORM, Q3T_W_ENCODER_INPUT_NORM_BIAS, Q3T_W_ENCODER_Q, Q3T_W_ENCODER_K, Q3T_W_ENCODER_V,
    Q3T_W_ENCODER_O, Q3T_W_ENCODER_ATTN_SCALE, Q3T_W_ENCODER_POST_NORM, Q3T_W_ENCODER_POST_NORM_BIAS,
    Q3T_W_ENCODER_FC1, Q3T_W_ENCODER_FC2, Q3T_W_ENCODER_MLP_SCALE,
    Q3T_W_ENCODER_HALVE, Q3T_W_ENCODER_SEMANTIC, Q3T_W_ENCODER_ACOUSTIC,
    Q3T_W_ENCODER_BOOK_SUM, Q3T_W_ENCODER_BOOK_USAGE
} q3t_slot;

/* A tensor in the caller's memory (usually a mapped file): of the checkpoint, row-major, any alignment; or packed, 64-byte
 * aligned, shape that of the matrix. Packed may be the matrices of the talker's and the predictor's layers, and heads and
 * PROJECTION; Q, K and V of a layer alike, GATE and UP too, where CODED and BF16 count as one. */
typedef struct q3t_tensor {
    int32_t slot, layer, dtype, dims;
    int64_t shape[4];
    const void *data;
} q3t_tensor;

typedef struct q3t_model_options {
    uint32_t cpu_mask;           /* Q3T_CPU_ALL in use; less in tests */
    int32_t threads;             /* >= 1, the caller's own included */
    const void *codec;           /* of q3t_model_open alone: the codec's weights as q3t_pack_codec made them, borrowed as
                                    tensor data is; its slots are then not among the tensors. NULL: they are */
    size_t codec_bytes;          /* what q3t_pack_codec_bytes says, else Q3T_E_SHAPE */
} q3t_model_options;

/* Of the block that q3t_pack_codec makes: the same weights under another number are another block. */
enum { Q3T_CODEC_LAYOUT = 2 };

/* How one code is chosen. Source: transformers LogitsProcessor order, SPEC of the reference's generate(). */
typedef struct q3t_sampling {
    int32_t greedy;              /* 1: argmax; the fields below but repetition_penalty are unused */
    float temperature;           /* > 0 */
    int32_t top_k;               /* 0 = off */
    float top_p;                 /* 0 < p <= 1; 1 = off */
    float repetition_penalty;    /* > 0; 1 = off; talker only */
} q3t_sampling;

/* Codec parts of a prompt row, other than a codec token id. */
typedef enum q3t_row {
    Q3T_ROW_NONE = -1,           /* the text part alone */
    Q3T_ROW_SPEAKER = -2,        /* the speaker vector */
    Q3T_ROW_REFERENCE = -3       /* -3 - f: the 16 summed code embeddings of reference frame f */
} q3t_row;

typedef struct q3t_session_params {
    /* The prompt: row i is text embedding text_ids[i] (-1: none) plus codec part codec_ids[i] (a token id or q3t_row). */
    int32_t rows;
    const int32_t *text_ids, *codec_ids;
    int32_t prefix_rows;         /* leading rows that depend on voice, language and instruct alone */
    int32_t trailing;            /* text embeddings added to the first frames; afterwards tts_pad */
    const int32_t *trailing_ids;
    const float *speaker;        /* (talker.hidden,) or NULL */
    int32_t reference_frames;
    const int32_t *reference_codes; /* (reference_frames, code_groups): decoder context too */
    q3t_sampling talker, predictor;
    uint64_t seed, key;          /* a draw depends on seed, key, frame and group alone */
    int32_t max_frames;          /* >= 1; at most this many are made */
    int32_t min_frames;          /* 0 .. max_frames: the model may not end the utterance before; 2 at the least, as in the reference */
    int32_t chunk_frames;        /* frames decoded at a time, 1..64; 0 = 1, 2, 4, then 8, or as playback needs */
    int32_t pipeline;            /* 1: decode on a thread of its own; 0: as a slice of q3t_step */
} q3t_session_params;

typedef enum q3t_state {
    Q3T_RUNNING = 0,
    Q3T_STOP_EOS = 1,            /* the model ended the utterance; all frames are decoded or queued to be */
    Q3T_STOP_MAX_FRAMES = 2
} q3t_state;

typedef struct q3t_session_info {
    int32_t state;               /* q3t_state of the generation */
    int32_t frames;              /* generated so far */
    int32_t decoded;             /* of these, decoded into the ring (samples may wait there) */
    int32_t positions;           /* of the talker's cache in use */
    int32_t cached_rows;         /* prompt rows taken from the prefix cache */
    double prefill_seconds, talker_seconds, predictor_seconds, codec_seconds;
} q3t_session_info;

/* What q3t_session_peek copies: for tests and for measuring precision. */
typedef enum q3t_peek {
    Q3T_PEEK_PREFILL = 0,        /* (rows, hidden): inputs of the talker's first forward; from the first step on */
    Q3T_PEEK_LOGITS = 1,         /* (vocab,): raw logits of the last talker step */
    Q3T_PEEK_SCORES = 2,         /* (vocab,): after penalty and suppression */
    Q3T_PEEK_HIDDEN = 3,         /* (hidden,): normed output of the last talker step */
    Q3T_PEEK_INPUT = 4,          /* (hidden,): next input of the talker */
    Q3T_PEEK_PREDICTOR_LOGITS = 5, /* (code_groups - 1, code_vocab): of the last frame */
    Q3T_PEEK_TRAILING = 6        /* (trailing, hidden): from the first step on */
} q3t_peek;

const char *q3t_status_text(q3t_status status);
/* Flags of this processor that the kernels can use. */
uint32_t q3t_cpu_flags(void);
/* Write "entry=isa entry=isa ..." of the table chosen under mask; returns the length needed without the NUL. */
size_t q3t_kernels_text(uint32_t cpu_mask, char *text, size_t size);

/* Bytes of a (rows, columns) matrix packed as dtype INT8, INT4 or CODED: a multiple of 64. */
q3t_status q3t_pack_bytes(int32_t dtype, int64_t rows, int64_t columns, size_t *bytes);
/* Pack rows [32 * block0, 32 * block1), as far as they exist, of a matrix of dims 2, F32 or BF16, into their place in
 * packed: all of q3t_pack_bytes, 64-byte aligned. Threads may share a matrix, each with blocks of its own.
 * CODED: of BF16 only; Q3T_E_SIZE where a few rows have more kinds of exponents than there is room for. */
q3t_status q3t_pack(const q3t_tensor *matrix, int32_t dtype, int32_t block0, int32_t block1, void *packed);

/* Bytes of the codec's packed weights, a multiple of 64. The fields of config that q3t_decoder_open reads are read. */
q3t_status q3t_pack_codec_bytes(const q3t_config *config, size_t *bytes);
/* Pack the codec's weights on so many threads into 64-byte aligned memory of that size: the same bytes for any CPU and number
 * of threads, without a pointer in them. tensors: the slots from FIRST_SUM on, each once. */
q3t_status q3t_pack_codec(const q3t_config *config, const q3t_tensor *tensors, size_t count, int32_t threads, void *packed);

/* Have mapped memory that is about to be read put into the page table at once. It takes as long as that takes: call it on
 * a thread of its own. Where the system cannot, nothing happens. */
q3t_status q3t_warm(const void *memory, size_t bytes);

/* Check config and tensors, pack the codec's weights where they are not yet, start the pool.
 * tensors: count of them, each slot and layer of the config exactly once, in any order. */
q3t_status q3t_model_open(const q3t_config *config, const q3t_tensor *tensors, size_t count,
                          const q3t_model_options *options, q3t_model **model);
void q3t_model_close(q3t_model *model);
/* Bytes of the talker's keys and values of one position: what a step reads of each that came before. */
size_t q3t_model_position_bytes(const q3t_model *model);

q3t_status q3t_session_open(q3t_model *model, const q3t_session_params *params, q3t_session **session);
/* Stops the decoder thread if there is one, whatever it is doing, and frees everything. */
void q3t_session_close(q3t_session *session);

/* Advance each of n sessions by one frame (the prompt first, where it is new) and decode what is due.
 * A session that has stopped only decodes. status: (n,) one q3t_status per session; the return value is
 * Q3T_OK even if some of them failed, and an error only if the call itself was wrong. A session that is NULL, of another
 * model or there twice has Q3T_E_ARGUMENT and keeps no other from its frame. */
q3t_status q3t_step(q3t_model *model, q3t_session *const *sessions, int32_t n, int32_t *status);

/* Copy out up to `capacity` decoded samples, float32 mono 24 kHz; *count is how many.
 * wait: 1 = in pipeline mode, block until at least one sample is there or none will come.
 * *count == 0 with state != RUNNING and decoded == frames means the end. */
q3t_status q3t_session_read(q3t_session *session, float *samples, int32_t capacity, int32_t wait, int32_t *count);
/* Copy frames [first, first + n) of the codes made so far: codes (n, code_groups) int32. */
q3t_status q3t_session_codes(const q3t_session *session, int32_t first, int32_t n, int32_t *codes);
q3t_status q3t_session_info_get(const q3t_session *session, q3t_session_info *info);
q3t_status q3t_session_peek(const q3t_session *session, q3t_peek what, float *out, size_t count);

/* ---- What a machine can do at most, for measuring: threads like those of a model, used by one caller at a time. */
typedef struct q3t_probe q3t_probe;
typedef enum q3t_peak {
    Q3T_PEAK_F32 = 0,            /* multiply-adds */
    Q3T_PEAK_BF16 = 1,           /* dot products by an instruction for them */
    Q3T_PEAK_INT8 = 2
} q3t_peak;
q3t_status q3t_probe_open(const q3t_model_options *options, q3t_probe **probe);
void q3t_probe_close(q3t_probe *probe);
/* Seconds that all threads take to read memory, a multiple of 256 KB. */
q3t_status q3t_probe_read(q3t_probe *probe, const void *memory, size_t bytes, double *seconds);
/* Operations a second of all threads in loops that stay in registers, a multiply-add being two; 0 where cpu_mask leaves no
 * instruction for it. Takes at least `seconds`. */
q3t_status q3t_probe_peak(q3t_probe *probe, q3t_peak what, double seconds, double *rate);
/* Seconds that all threads take to meet, each spinning on the others' flags; the mean of so many rounds. */
q3t_status q3t_probe_barrier(q3t_probe *probe, int32_t rounds, double *seconds);

/* ---- The codec's decoder without a model, for one stream of codes at a time and one caller.
 * config: codec, code_groups and the fields from codebook_size on are read; tensors: the slots from FIRST_SUM on. */
typedef struct q3t_decoder q3t_decoder;
q3t_status q3t_decoder_open(const q3t_config *config, const q3t_tensor *tensors, size_t count, const q3t_model_options *options,
                            q3t_decoder **decoder);
void q3t_decoder_close(q3t_decoder *decoder);
/* The next frames (1 .. 64) of the stream, or with restart 1 the first of a new one: codes (frames, code_groups) to
 * samples (frames * samples per frame,). How a stream is cut into calls changes nothing. */
q3t_status q3t_decoder_run(q3t_decoder *decoder, int32_t restart, const int32_t *codes, int32_t frames, float *samples);

/* ---- What a voice is made of: opened when a recording is to be encoded, closed again after. Each has weights and
 * threads of its own and is used by one caller at a time. Samples are float32 mono at 24 kHz. */
typedef struct q3t_speaker q3t_speaker; /* recording to speaker vector */
typedef struct q3t_encoder q3t_encoder; /* recording to codes */

/* channels, kernels, dilations: of the first convolution, the SE-Res2Net blocks, and the one that joins the blocks. */
typedef struct q3t_speaker_config {
    int32_t layers, channels[8], kernels[8], dilations[8];
    int32_t scale;               /* parts of a Res2Net block */
    int32_t se, attention;       /* bottleneck channels */
    int32_t embedding;
} q3t_speaker_config;

typedef struct q3t_encoder_config {
    q3t_transformer_config transformer; /* rms_eps is the layer norm's */
    int32_t filters, kernel, last_kernel, residual_kernel, compress;
    int32_t units, dilation_growth;     /* residual units a stage; dilation of unit i: dilation_growth^i */
    int32_t stages, rates[8];           /* strides, in the order they are met */
    int32_t halving;                    /* stride of the last downsampling */
    int32_t code_groups, codebook_size, codebook_dim;
} q3t_encoder_config;

/* tensors: every one of the part's slots and layers exactly once. */
q3t_status q3t_speaker_open(const q3t_speaker_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_speaker **speaker);
/* A call that is running in another thread, and every later one, returns Q3T_E_STOPPED soon. */
void q3t_speaker_stop(q3t_speaker *speaker);
void q3t_speaker_close(q3t_speaker *speaker);
/* embedding (config.embedding,). Q3T_E_ARGUMENT for fewer samples than reflected padding needs: 0.1 s is enough
 * for the released models. */
q3t_status q3t_speaker_embed(q3t_speaker *speaker, const float *samples, int32_t n, float *embedding);
/* mel (n / 256, 128): the log-mel spectrogram that the embedding is made from, for tests. */
q3t_status q3t_speaker_mel(q3t_speaker *speaker, const float *samples, int32_t n, float *mel);

q3t_status q3t_encoder_open(const q3t_encoder_config *config, const q3t_tensor *tensors, size_t count,
                            const q3t_model_options *options, q3t_encoder **encoder);
/* See q3t_speaker_stop. */
void q3t_encoder_stop(q3t_encoder *encoder);
void q3t_encoder_close(q3t_encoder *encoder);
/* codes (ceil(n / samples in a frame), code_groups). Memory grows with n, 5 MB for each second at full size. */
q3t_status q3t_encoder_run(q3t_encoder *encoder, const float *samples, int32_t n, int32_t *codes);
#endif
