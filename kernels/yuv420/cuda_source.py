"""The CUDA C of `kernels.yuv420.cupy`, apart from it, so that it can be compiled where no card and no CuPy is.

A thread makes four columns of two rows: two words of Y and, as a rule, two bytes of each chroma plane. Defined at
compile time: ELEMENT (0 uint8, 1 float16, 2 bfloat16, 3 float32), LABEL, MARK and NV12 (0 or 1).
"""

ENTRY = "yuv420"
COLUMNS = 4
ROWS = 2

SOURCE = r"""
#ifndef HALF_TO_FLOAT
__device__ inline float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#define HALF_TO_FLOAT half_to_float
#endif

#if ELEMENT == 0
typedef unsigned char Element;
__device__ inline float as_float(Element value) { return (float)value; }
#elif ELEMENT == 1
typedef unsigned short Element;
__device__ inline float as_float(Element value) { return HALF_TO_FLOAT(value); }
#elif ELEMENT == 2
typedef unsigned short Element;
__device__ inline float as_float(Element value) { return __uint_as_float((unsigned int)value << 16); }
#else
typedef float Element;
__device__ inline float as_float(Element value) { return value; }
#endif

__device__ inline float clip(float value) { return fminf(fmaxf(value, 0.0f), 255.0f); }

__device__ inline unsigned char weighted(float red, float green, float blue, const float *rgb, float offset) {
    return (unsigned char)floorf(red * rgb[0] + green * rgb[1] + blue * rgb[2] + offset);
}

extern "C" __global__ void yuv420(
    const Element *image, const float *keep, const float *add, const float *pattern, unsigned char *out,
    int height, int width, int top, int left, int rows, int columns, int wide,
    long long image_b, long long image_c, long long image_y, long long image_x,
    long long keep_y, long long keep_x, long long add_c, long long add_y, long long add_x,
    long long pattern_b, long long pattern_y, long long pattern_x,
    float yr, float yg, float yb, float ur, float ug, float ub, float vr, float vg, float vb
) {
    const int x0 = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    const int pair = blockIdx.y * blockDim.y + threadIdx.y;
    const long long item = blockIdx.z;
    if (x0 >= width || 2 * pair >= height) return;
    const int count = min(4, width - x0);
    const long long pixels = (long long)height * width;
    unsigned char *frame = out + item * (pixels / 2 * 3);
    float sum[2][3] = {{0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f}};

    for (int row = 0; row < 2; ++row) {
        const int y = 2 * pair + row;
        unsigned char luma[4] = {0, 0, 0, 0};
        for (int k = 0; k < count; ++k) {
            const int x = x0 + k;
            float rgb[3];
#if MARK
            const float mark = pattern[item * pattern_b + y * pattern_y + x * pattern_x];
#endif
#if LABEL
            const int at_y = y - top, at_x = x - left;
            const bool inside = at_y >= 0 && at_y < rows && at_x >= 0 && at_x < columns;
            const float share = inside ? keep[at_y * keep_y + at_x * keep_x] : 1.0f;
#endif
            for (int c = 0; c < 3; ++c) {
                const long long place = item * image_b + c * image_c
                    + y * image_y + x * image_x;
                float level = as_float(image[place]);
#if ELEMENT != 0
                level = rintf(clip(__fadd_rn(__fmul_rn(level, 127.5f), 127.5f)));
#endif
#if LABEL
                if (inside) {
                    const float badge = add[c * add_c + at_y * add_y + at_x * add_x];
                    level = floorf(__fadd_rn(__fmul_rn(level, share), badge));
                }
#endif
#if MARK
                level = rintf(clip(__fadd_rn(level, mark)));
#endif
                rgb[c] = level;
                sum[k / 2][c] += 0.25f * level;
            }
            luma[k] = weighted(yr, yg, yb, rgb, 16.5f);
        }
        unsigned char *target = frame + (long long)y * width + x0;
        if (wide) {
            *(unsigned int *)target = luma[0] | luma[1] << 8 | luma[2] << 16 | (unsigned int)luma[3] << 24;
        } else {
            for (int k = 0; k < count; ++k) target[k] = luma[k];
        }
    }

    unsigned char u[2], v[2];
    for (int k = 0; k < 2; ++k) {
        u[k] = weighted(ur, ug, ub, sum[k], 128.5f);
        v[k] = weighted(vr, vg, vb, sum[k], 128.5f);
    }
#if NV12
    unsigned char *target = frame + pixels + (long long)pair * width + x0;
    if (wide) {
        *(unsigned int *)target = u[0] | v[0] << 8 | u[1] << 16 | (unsigned int)v[1] << 24;
    } else {
        for (int k = 0; k < count / 2; ++k) { target[2 * k] = u[k]; target[2 * k + 1] = v[k]; }
    }
#else
    unsigned char *blue = frame + pixels + (long long)pair * (width / 2) + x0 / 2;
    unsigned char *red = blue + pixels / 4;
    if (wide) {
        *(unsigned short *)blue = (unsigned short)(u[0] | u[1] << 8);
        *(unsigned short *)red = (unsigned short)(v[0] | v[1] << 8);
    } else {
        for (int k = 0; k < count / 2; ++k) { blue[k] = u[k]; red[k] = v[k]; }
    }
#endif
}
"""
