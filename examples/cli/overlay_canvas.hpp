// What the parts of an overlay draw with: colours, sizes, and a surface.
#pragma once

#include <cairo.h>

#include <cstdint>
#include <cstring>
#include <memory>

#include "overlay.hpp"

namespace promiseg::cli {

inline constexpr double kDesignSide = 1200;  // the picture for which sizes are meant
inline constexpr double kLineWidth = 2;

struct Color {
  double red = 0;
  double green = 0;
  double blue = 0;
};

/// The colour of an object as cairo takes it.
inline Color object_color(std::size_t index) {
  const auto rgb = overlay_color(index);
  return {rgb[0] / 255.0, rgb[1] / 255.0, rgb[2] / 255.0};
}

struct CairoDelete {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};

/// An RGB image surface and the pen that draws on it.
class Canvas {
 public:
  Canvas(Index width, Index height)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width),
                                            static_cast<int>(height))),
        context_(cairo_create(surface_.get())) {
    check();
  }

  cairo_t* pen() const { return context_.get(); }

  /// Throws what went wrong in any drawing call so far.
  void check() const {
    const cairo_status_t status = cairo_status(context_.get());
    require(status == CAIRO_STATUS_SUCCESS, ErrorCode::unsupported,
            "overlay: drawing failed: ", cairo_status_to_string(status));
  }

  /// Puts an image `[height, width, 1 or 3]` at the top left.
  void put(const Image& image) {
    cairo_surface_flush(surface_.get());
    const Index channels = image.extent(2);
    const std::uint8_t* from = image.data();
    for (Index y = 0; y < image.extent(0); ++y) {
      unsigned char* to = row(y);
      for (Index x = 0; x < image.extent(1); ++x, from += channels, to += sizeof(std::uint32_t)) {
        const std::uint32_t red = from[0];
        const std::uint32_t green = channels == 3 ? from[1] : red;
        const std::uint32_t blue = channels == 3 ? from[2] : red;
        const std::uint32_t pixel = red << 16 | green << 8 | blue;
        std::memcpy(to, &pixel, sizeof pixel);
      }
    }
    cairo_surface_mark_dirty(surface_.get());
  }

  Image image() const {
    cairo_surface_flush(surface_.get());
    Image result({cairo_image_surface_get_height(surface_.get()),
                  cairo_image_surface_get_width(surface_.get()), 3});
    std::uint8_t* to = result.data();
    for (Index y = 0; y < result.extent(0); ++y) {
      const unsigned char* from = row(y);
      for (Index x = 0; x < result.extent(1); ++x, from += sizeof(std::uint32_t)) {
        std::uint32_t pixel = 0;
        std::memcpy(&pixel, from, sizeof pixel);
        *to++ = static_cast<std::uint8_t>(pixel >> 16 & 0xff);
        *to++ = static_cast<std::uint8_t>(pixel >> 8 & 0xff);
        *to++ = static_cast<std::uint8_t>(pixel & 0xff);
      }
    }
    return result;
  }

 private:
  unsigned char* row(Index y) const {
    return cairo_image_surface_get_data(surface_.get()) +
           y * cairo_image_surface_get_stride(surface_.get());
  }

  std::unique_ptr<cairo_surface_t, CairoDelete> surface_;
  std::unique_ptr<cairo_t, CairoDelete> context_;
};

inline void set_color(cairo_t* pen, const Color& color, double alpha = 1) {
  cairo_set_source_rgba(pen, color.red, color.green, color.blue, alpha);
}

}  // namespace promiseg::cli
