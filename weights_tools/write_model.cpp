#include "write_model.hpp"

namespace promiseg::tools {

ModelProvenance write_model(AtomicFile& file, const ModelConfig& config, ModelProvenance provenance,
                            const NamedTensors& tensors) {
  write_weights(file, tensors, DType::f32, [&](const std::string& sha256) {
    provenance.weights_sha256 = sha256;
    return model_metadata(config, provenance);
  });
  return provenance;
}

}  // namespace promiseg::tools
