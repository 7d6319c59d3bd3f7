# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
class Rack::Attack
  class Request
    def remote_ip
      @remote_ip ||= ActionDispatch::Request.new(env).remote_ip
    end

    def bearer
      @bearer ||= env['HTTP_AUTHORIZATION'].to_s[/\ABearer (\S+)\z/, 1]
    end

    def api?
      path.start_with?('/api')
    end
  end

  # Nginx speaks for everyone, so until 4.2 only direct probes got this pass.
  safelist('allow from localhost') { |req| %w(127.0.0.1 ::1).include?(req.remote_ip) } if Mastodon::Version.localhost_safelist?
  blocklist('deny from blocklist') { |req| IpBlock.blocked?(req.remote_ip) }

  # Not Mastodon's: a small number here makes a 429 quick to reach.
  limit = ENV['STANDIN_RATE_LIMIT']&.to_i
  throttle('throttle_authenticated_api', limit: limit || 1_500, period: 5.minutes) { |req| req.bearer if req.api? }
  throttle('throttle_per_token_api', limit: limit || 300, period: 5.minutes) { |req| req.bearer if req.api? }
  throttle('throttle_unauthenticated_api', limit: limit || 300, period: 5.minutes) { |req| req.remote_ip if req.api? && !req.bearer }
  throttle('throttle_api_media', limit: limit || 30, period: 30.minutes) do |req|
    req.bearer if req.post? && req.path.match?(%r{\A/api/v\d+/media\z}i)
  end

  self.blocklisted_responder = ->(_) { [403, { 'content-type' => 'text/plain' }, ["Forbidden\n"]] }
  self.throttled_responder = lambda do |request|
    data = request.env['rack.attack.match_data']
    reset = Time.at(data[:epoch_time] + data[:period] - (data[:epoch_time] % data[:period])).utc
    headers = {
      'content-type' => 'application/json', 'x-ratelimit-limit' => data[:limit].to_s,
      'x-ratelimit-remaining' => '0', 'x-ratelimit-reset' => reset.iso8601(6)
    }
    [429, headers, [{ error: 'Too many requests' }.to_json]]
  end
end

ActiveSupport::Notifications.subscribe(/throttle\.rack_attack/) do |_name, _start, _finish, _id, payload|
  req = payload[:request]
  Rails.logger.info("Rate limit hit (#{req.env['rack.attack.match_type']}): #{req.ip} #{req.request_method} #{req.fullpath}")
end
