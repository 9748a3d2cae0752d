#include "backend/device_group.h"

#include <string.h>

static dmq_status refuse(const dmq_backend *backend)
{
    return dmq_fail(DMQ_ENOTSUP, "group: %s has no way from device to device", backend->name);
}

#ifdef DMQ_HAVE_CUDA
static int is_cuda(const dmq_backend *backend)
{
    return strcmp(backend->name, "cuda") == 0;
}

dmq_status dmq_device_group_ready(char device[DMQ_DEVICE_NAME], const dmq_backend *backend)
{
    memset(device, 0, DMQ_DEVICE_NAME);
    return is_cuda(backend) ? dmq_device_group_cuda_ready(device) : refuse(backend);
}

dmq_status dmq_device_group_key(unsigned char key[DMQ_DEVICE_KEY], const dmq_backend *backend)
{
    return is_cuda(backend) ? dmq_device_group_cuda_key(key) : refuse(backend);
}

dmq_status dmq_device_group_open(dmq_device_group **out, const dmq_backend *backend,
                                 const dmq_device_group_config *config)
{
    *out = NULL;
    return is_cuda(backend) ? dmq_device_group_cuda_open(out, config) : refuse(backend);
}
#else
dmq_status dmq_device_group_ready(char device[DMQ_DEVICE_NAME], const dmq_backend *backend)
{
    memset(device, 0, DMQ_DEVICE_NAME);
    return refuse(backend);
}

dmq_status dmq_device_group_key(unsigned char key[DMQ_DEVICE_KEY], const dmq_backend *backend)
{
    memset(key, 0, DMQ_DEVICE_KEY);
    return refuse(backend);
}

dmq_status dmq_device_group_open(dmq_device_group **out, const dmq_backend *backend,
                                 const dmq_device_group_config *config)
{
    (void)config;
    *out = NULL;
    return refuse(backend);
}
#endif
