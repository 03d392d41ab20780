/* A libnvidia-ml.so.1 without a GPU: what NVML would say to nvidia-ml-py, by environment variables.
   NVML_STUB_GPUS=N    so many GPUs; one less as soon as the file NVML_STUB_GONE is there
   NVML_STUB_FAULT=F   not-loaded, mismatch, unknown: from the start; hang: nothing ever comes back; lost: GPU 1;
                       nonsense: a count that cannot be, binary: names that are no text
   NVML_STUB_MIG=2-0   GPU 0 is not in MIG mode (-), is with 0 instances (0), with 2 (2), one character for each GPU
   NVML_STUB_PID=P     a process that holds 1 GiB of GPU 0
   NVML_STUB_MODELS=1  every GPU is another model
   NVML_STUB_USE=U     how much the GPUs do: constant; varying: more and less; unset: they do not tell */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define DRIVER_NOT_LOADED 9
#define GPU_IS_LOST 15
#define VERSION_MISMATCH 18
#define UNKNOWN 999

struct memory { unsigned long long total, free, used; };
struct process { unsigned int pid; unsigned long long used; unsigned int instance, compute; };

static const char *setting(const char *name) { const char *value = getenv(name); return value ? value : ""; }
static int fault(const char *name) { return !strcmp(setting("NVML_STUB_FAULT"), name); }
static long gpus(void) { return atol(setting("NVML_STUB_GPUS")) - !access(setting("NVML_STUB_GONE"), F_OK); }
static long gpu_of(void *handle) { return ((long)handle - 1) % 1000; }
static long part_of(void *handle) { return ((long)handle - 1) / 1000; } /* 0: the GPU itself */

static int instances(long gpu)
{
    const char *mig = setting("NVML_STUB_MIG");
    return (long)strlen(mig) > gpu && mig[gpu] != '-' ? mig[gpu] - '0' : -1;
}

int nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    while (fault("hang")) pause();
    if (fault("not-loaded")) return DRIVER_NOT_LOADED;
    if (fault("mismatch")) return VERSION_MISMATCH;
    if (fault("unknown")) return UNKNOWN;
    return 0;
}

int nvmlShutdown(void) { return 0; }

const char *nvmlErrorString(int code) { (void)code; return "what the stub says"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int size) { snprintf(text, size, "550.54.15"); return 0; }

int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12040; return 0; }

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    *count = fault("nonsense") ? 4000000000u : (unsigned int)gpus();
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle)
{
    if (index == 1 && fault("lost")) return GPU_IS_LOST;
    *handle = (void *)(long)(index + 1);
    return 0;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned int size)
{
    long model = *setting("NVML_STUB_MODELS") ? gpu_of(handle) : 0;
    if (fault("binary")) { snprintf(text, size, "\xff\xfe"); return 0; }
    if (part_of(handle)) snprintf(text, size, "NVIDIA Stub %ld MIG 1g.10gb", 100 + model);
    else snprintf(text, size, "NVIDIA Stub %ld", 100 + model);
    return 0;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned int size)
{
    snprintf(text, size, "%s-%08ld-0000-0000-0000-%012ld", part_of(handle) ? "MIG" : "GPU", gpu_of(handle), part_of(handle));
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory)
{
    memset(memory, 0, sizeof *memory);
    memory->total = (part_of(handle) ? 10ULL : 80ULL) << 30;
    return 0;
}

int nvmlDeviceGetHandleByUUID(const char *id, void **handle)
{
    *handle = (void *)(atol(id + 4) + 1); /* GPU-<index>-... */
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned int *rates) /* of the GPU, of its memory */
{
    static unsigned int times;
    (void)handle;
    if (!*setting("NVML_STUB_USE")) return NOT_SUPPORTED;
    rates[0] = 100;
    rates[1] = strcmp(setting("NVML_STUB_USE"), "varying") ? 0 : 20 + times++ % 7 * 5;
    return 0;
}

int nvmlDeviceGetMigMode(void *handle, unsigned int *now, unsigned int *pending)
{
    if (!*setting("NVML_STUB_MIG")) return NOT_SUPPORTED;
    *now = *pending = instances(gpu_of(handle)) >= 0;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) { (void)handle; *count = 7; return 0; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **part)
{
    if ((int)index >= instances(gpu_of(handle))) return NOT_FOUND;
    *part = (void *)((long)(index + 1) * 1000 + gpu_of(handle) + 1);
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, struct process *found)
{
    if (gpu_of(handle) || !*setting("NVML_STUB_PID")) { *count = 0; return 0; }
    if (!*count) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    memset(found, 0, sizeof *found);
    found->pid = (unsigned int)atol(setting("NVML_STUB_PID"));
    found->used = 1ULL << 30;
    return 0;
}
