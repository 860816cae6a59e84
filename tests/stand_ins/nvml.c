/* A driver library without a driver: what nvidia-ml-py asks for `--gpu auto`, with cards and free memory from the environment
   (STAND_IN_GPUS="name|total|free;name|total|free"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;

static int find(unsigned wanted, char *name, size_t size, memory_t *memory) {
  const char *text = getenv("STAND_IN_GPUS");
  unsigned index = 0;
  while (text && *text) {
    char card[256] = {0}, label[128] = {0};
    const char *end = strchr(text, ';');
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (length >= sizeof card) return -1;
    memcpy(card, text, length);
    unsigned long long total = 0, available = 0;
    if (sscanf(card, "%127[^|]|%llu|%llu", label, &total, &available) != 3) return -1;
    if (index == wanted) {
      if (name) { strncpy(name, label, size - 1); name[size - 1] = 0; }
      if (memory) { memory->total = total; memory->free = available; memory->used = total - available; }
      return 0;
    }
    index++;
    text = end ? end + 1 : NULL;
  }
  return wanted == (unsigned)-1 ? (int)index : -1;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return getenv("STAND_IN_GPUS") ? 0 : 9; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "stand-in error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)find((unsigned)-1, NULL, 0, NULL); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(size_t)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned size) { return find((unsigned)(size_t)device - 1, name, size, NULL) ? 2 : 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) { return find((unsigned)(size_t)device - 1, NULL, 0, memory) ? 2 : 0; }
