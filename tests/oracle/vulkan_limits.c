/* Preloaded before a Vulkan loader: a driver without a GPU says that a storage buffer and an allocation may be as large as on desktop cards. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <vulkan/vulkan_core.h>

static PFN_vkGetPhysicalDeviceProperties properties;
static PFN_vkGetPhysicalDeviceProperties2 properties2;

static void widen(VkPhysicalDeviceProperties *said) {
    said->limits.maxStorageBufferRange = UINT32_MAX;
    said->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void widened(VkPhysicalDevice device, VkPhysicalDeviceProperties *said) {
    properties(device, said);
    widen(said);
}

static void widened2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *said) {
    properties2(device, said);
    widen(&said->properties);
    for (VkBaseOutStructure *more = said->pNext; more; more = more->pNext) {
        if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES)
            ((VkPhysicalDeviceMaintenance3Properties *) more)->maxMemoryAllocationSize = 1ull << 32;
        if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES)
            ((VkPhysicalDeviceMaintenance4Properties *) more)->maxBufferSize = 1ull << 36;
    }
}

PFN_vkVoidFunction vkGetInstanceProcAddr(VkInstance instance, const char *name) {
    static PFN_vkGetInstanceProcAddr real;
    if (!real)
        real = (PFN_vkGetInstanceProcAddr) dlsym(dlopen("libvulkan.so.1", RTLD_NOW), "vkGetInstanceProcAddr");
    PFN_vkVoidFunction found = real(instance, name);
    if (found && !strcmp(name, "vkGetPhysicalDeviceProperties")) {
        properties = (PFN_vkGetPhysicalDeviceProperties) found;
        return (PFN_vkVoidFunction) widened;
    }
    if (found && !strncmp(name, "vkGetPhysicalDeviceProperties2", 30)) {
        properties2 = (PFN_vkGetPhysicalDeviceProperties2) found;
        return (PFN_vkVoidFunction) widened2;
    }
    return found;
}
