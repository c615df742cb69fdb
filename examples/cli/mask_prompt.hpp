// A coarse mask as a prompt, from a picture or from an array of logits.
#pragma once

#include <filesystem>

#include "promiseg/core/tensor.hpp"
#include "promiseg/sam/preprocess.hpp"

namespace promiseg::cli {

/// Logits [side, side] in the model's frame from a file: either an image of the original's size,
/// bright where the object is, or a NumPy array of float32 logits [side, side] (any leading axes of
/// length one), as an earlier prediction had them. Throws `Error` naming the file, what was
/// expected and what came.
Tensor<float, 2> read_mask_prompt(const std::filesystem::path& path, const FrameGeometry& geometry,
                                  Index side);

}  // namespace promiseg::cli
