// All resizing rules and the geometry between image and model frame.
#pragma once

#include "promiseg/sam/geometry.hpp"         // IWYU pragma: export
#include "promiseg/sam/resize_area.hpp"      // IWYU pragma: export
#include "promiseg/sam/resize_bilinear.hpp"  // IWYU pragma: export
#include "promiseg/sam/resize_pillow.hpp"    // IWYU pragma: export
