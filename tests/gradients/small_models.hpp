// Models of both kinds, small enough for finite differences.
#pragma once

#include "promiseg/sam/model_config.hpp"

namespace promiseg_test {

/// One block with windows, one without.
inline promiseg::ModelConfig small_vit() {
  promiseg::ModelConfig config;
  config.arch = "vit";
  config.image_size = 16;
  config.patch_size = 4;
  config.encoder_embed_dim = 8;
  config.encoder_depth = 2;
  config.encoder_num_heads = 2;
  config.global_attn_indexes = {1};
  config.window_size = 3;
  config.prompt_embed_dim = 8;
  config.decoder_num_heads = 2;
  config.mask_in_chans = 4;
  return config;
}

/// A convolutional stage and one of attention.
inline promiseg::ModelConfig small_tiny_vit() {
  promiseg::ModelConfig config = promiseg::published_config("litemedsam");
  config.image_size = 16;
  config.embed_dims = {4, 8};
  config.depths = {1, 1};
  config.num_heads = {1, 2};
  config.window_sizes = {3, 3};
  config.mbconv_expand_ratio = 2;
  config.prompt_embed_dim = 8;
  config.decoder_num_heads = 2;
  config.mask_in_chans = 4;
  return config;
}

}  // namespace promiseg_test
