#include "write_pack.hpp"

namespace promiseg::tools {

void write_pack(AtomicFile& file, const PackConfig& config, PackProvenance provenance,
                const NamedTensors& tensors, DType dtype) {
  write_weights(file, tensors, dtype, [&](const std::string& sha256) {
    provenance.weights_sha256 = sha256;
    return pack_metadata(config, provenance);
  });
}

}  // namespace promiseg::tools
