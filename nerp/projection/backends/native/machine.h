// The kernels in use on this machine.
#pragma once

#include "kernels.h"

namespace nerp {

const Kernels& kernels();

}  // namespace nerp
